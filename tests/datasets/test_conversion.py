"""Conversions resume, write whole cases or none, and one failure stops no other."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest

from hilum.core.case import Case
from hilum.core.errors import DataError, Stopped, UserError
from hilum.core.notes import Note
from hilum.datasets.conversion import VERSION, Conversion, convert, folder_of
from hilum.datasets.source import Imported, Source


def copy(file: Path, error: type[Exception] | None, folder: Path) -> None:
    """Write two files; fail between them, as a damaged scan does."""
    (folder / "first").write_text(file.read_text())
    if error:
        raise error("a rule")
    (folder / "second").write_text(file.read_text())


def conversions(source: Source, **errors: type[Exception]) -> list[Conversion]:
    found = []
    for name in ("a", "b", "c"):
        file = source.root / name
        if not file.exists():
            file.write_text(name)
        case = Case(name, name, {"ct": folder_of(source, name) / "first"})
        found.append(Conversion(case, (file,), partial(copy, file, errors.get(name))))
    return found


def test_a_case_that_fails_leaves_nothing_and_stops_no_other(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def show(done: int, total: int, case: str) -> None:
        seen.append((done, total))

    source = Source(tmp_path, tmp_path / "out", progress=show)
    found = convert(source, conversions(source, a=DataError, b=RuntimeError), Imported())
    assert [case.id for case in found.cases] == ["c"]
    assert [(entry.case, entry.reason) for entry in found.left_out] == [
        ("a", "a rule"),
        ("b", "the case must be readable, found RuntimeError: a rule"),
    ]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert sorted(path.name for path in (tmp_path / "out" / "cases").iterdir()) == ["c"]


def test_a_rerun_writes_only_what_is_not_done(tmp_path: Path) -> None:
    source = Source(tmp_path, tmp_path / "out")
    convert(source, conversions(source, b=DataError), Imported())
    # Would fail if they were written again.
    found = convert(source, conversions(source, a=DataError, c=DataError), Imported())
    assert [case.id for case in found.cases] == ["a", "b", "c"]


@pytest.mark.parametrize("change", ["size", "time", "stamp"])
def test_a_changed_input_is_converted_anew(tmp_path: Path, change: str) -> None:
    source = Source(tmp_path, tmp_path / "out")
    jobs = conversions(source)[:1]
    convert(source, jobs, Imported())
    file, written = tmp_path / "a", folder_of(source, "a") / "first"
    stat = file.stat()
    if change == "stamp":
        (folder_of(source, "a") / "inputs.json").write_text("{")
    else:
        file.write_text("longer" if change == "size" else "A")
    later = stat.st_mtime_ns + (10**9 if change == "time" else 0)
    os.utime(file, ns=(later, later))
    written.write_text("old")
    convert(source, jobs, Imported())
    assert written.read_text() == file.read_text()
    assert not list((tmp_path / "out" / "cases").glob(".*")), "the old folder must be gone"


@pytest.mark.parametrize("error", [UserError, Stopped])
def test_what_no_other_case_would_survive_stops_all(tmp_path: Path, error: type[Exception]) -> None:
    source = Source(tmp_path, tmp_path / "out")
    with pytest.raises(error):
        convert(source, conversions(source, b=error), Imported())
    assert json.loads((folder_of(source, "a") / "inputs.json").read_text())["version"] == VERSION


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    source = Source(tmp_path, tmp_path / "out")
    jobs = conversions(source)
    (tmp_path / "b").unlink()
    found = convert(source, jobs, Imported())
    assert f"case b: {tmp_path / 'b'}: the file cannot be read: No such" in found.left_out[0].reason


def _noted(folder: Path) -> list[Note]:
    (folder / "ct.nii.gz").write_text("x")
    return [Note("warning", "shifted", "shifted by 3 mm")]


def test_notes_of_a_conversion_get_its_case_and_survive_a_rerun(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.write_text("raw")
    source = Source(tmp_path, tmp_path / "out")
    case = Case("a", "a", {"ct": folder_of(source, "a") / "ct.nii.gz"})
    one = Conversion(case, (raw,), _noted)
    expected = [Note("warning", "shifted", "shifted by 3 mm", "a")]
    assert convert(source, [one], Imported()).notes == expected
    assert convert(source, [one], Imported()).notes == expected
