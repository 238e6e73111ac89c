"""The road of a note: importer, terminal, side file, check (strict fails), prepare, store."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image
from typer.testing import CliRunner

from hilum.cli.app import app
from hilum.core.files import read_json
from hilum.core.geometry import Grid
from hilum.core.notes import Note, read_notes, write_notes
from hilum.datasets.check.run import check
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import notes_file
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.datasets.store.case_store import CaseStore

GRID = Grid.from_spacing((16, 32, 32), (2, 2, 2))


def scans(root: Path, metal: int = 0, stray: bool = True) -> Path:
    """Write two cases with a CT; the first has metal voxels and a file that nobody knows."""
    draw = np.random.default_rng(0)
    ct = np.zeros(GRID.shape, np.float32)
    for number, case in enumerate("ab"):
        ct = np.full(GRID.shape, -1000, np.float32)
        ct[1:-1, 4:-4, 4:-4] = 40
        ct += draw.normal(0, 10, GRID.shape).astype(np.float32)
        ct[8, 10, 10 : 10 + metal * (number == 0)] = 20_000
        ct[8, 20, 20] = 900
        write_volume(root / case / "ct.nii.gz", ct, GRID)
    if stray:
        write_volume(root / "stray.nii.gz", ct[:2], GRID.crop((0, 0, 0), (2, 32, 32)))
    return root


PATTERN = ("pattern={case}/{modality}.nii.gz",)


def test_a_warning_reaches_terminal_side_file_record_check_and_store(tmp_path: Path) -> None:
    lines: list[str] = []
    out = tmp_path / "out"
    file = import_cohort("pattern", scans(tmp_path / "raw"), out, options=PATTERN, say=lines.append)
    text = "1 files of NIfTI do not fit the pattern and were passed over"
    assert any(line.startswith("warning: ") and "1 files" in line for line in lines)
    (note,) = read_notes(notes_file(file))
    assert (note.severity, note.kind) == ("warning", "files passed over")
    assert note.text.startswith(text)
    assert read_json(out / "import.json")["notes"] == [note.as_json()]
    report = check(file)
    assert not report.blocking
    assert [(p.severity, p.rule) for p in report.problems] == [("warn", note.kind)]
    assert check(file, strict=True).blocking
    told: list[str] = []
    store = prepare(file, tmp_path / "store", PrepareSettings.model_validate({}), say=told.append)
    assert store.notes == [note]
    assert told == [f"warning: {note.text}"]


def test_clipped_voxels_reach_terminal_case_and_store_also_on_a_rerun(tmp_path: Path) -> None:
    raw = scans(tmp_path / "raw", metal=3, stray=False)
    file = import_cohort("folder", raw, tmp_path / "out")
    for _ in range(2):
        told: list[str] = []
        settings = PrepareSettings.model_validate({})
        store = prepare(file, tmp_path / "store", settings, say=told.append)
        (line,) = told
        assert line.startswith("info: a: 3 voxels of ct ")
        assert "clipped to -1024 to 3071 HU" in line
        assert [note.case for note in store.notes] == ["a"]
        assert len(read_json(tmp_path / "store" / "a" / "case.json")["notes"]) == 1
        assert CaseStore(store.path).rows["a"]["notes"] == 1


def test_much_clipped_is_a_warning_and_nothing_clipped_says_nothing(tmp_path: Path) -> None:
    raw = scans(tmp_path / "raw", stray=False)
    array = np.full(GRID.shape, 50, np.float32)
    array[:4] = 5000
    write_volume(raw / "a" / "ct.nii.gz", array, GRID)
    file = import_cohort("folder", raw, tmp_path / "out")
    store = prepare(file, tmp_path / "store", PrepareSettings.model_validate({}))
    assert [(note.severity, note.case, note.kind) for note in store.notes] == [
        ("warning", "a", "ct clipped")
    ]


@pytest.mark.parametrize("by", ["folder", "hand"])
def test_an_odd_header_reaches_import_check_and_store_once(tmp_path: Path, by: str) -> None:
    raw = scans(tmp_path / "raw", stray=False)
    image = Nifti1Image.from_filename(raw / "a" / "ct.nii.gz")
    moved = np.array(image.affine)
    moved[2, 3] += 7
    image.set_qform(moved, code=1)
    nibabel.save(image, raw / "a" / "ct.nii.gz")
    if by == "folder":
        file = import_cohort("folder", raw, tmp_path / "out")
        assert [note.kind for note in read_notes(notes_file(file))] == ["positions in doubt"]
    else:
        file = raw / "manifest.csv"
        file.write_text("case,ct\na,a/ct.nii.gz\nb,b/ct.nii.gz\n")
    text = "ct.nii.gz: sform and qform 7.0 mm apart"
    assert [(p.case, p.severity, p.found) for p in check(file).problems] == [("a", "warn", text)]
    store = prepare(file, tmp_path / "store", PrepareSettings.model_validate({}))
    assert [(note.case, note.text) for note in store.notes] == [("a", text)]


@pytest.mark.parametrize(
    ("severity", "plain", "strict"), [("info", 0, 0), ("warning", 0, 1), ("error", 1, 1)]
)
def test_check_ends_by_the_severity(tmp_path: Path, severity: str, plain: int, strict: int) -> None:
    file = import_cohort("folder", scans(tmp_path / "raw", stray=False), tmp_path / "out")
    entry = {"severity": severity, "kind": "a clock repaired", "text": "by 2 h", "case": "a"}
    gone = {**entry, "case": "removed", "severity": "error"}
    write_notes(notes_file(file), [Note.from_json(entry), Note.from_json(gone)])
    for options, code in ([], plain), (["--strict"], strict):
        result = CliRunner().invoke(app, ["check", str(file), *options])
        assert result.exit_code == code, result.output
        assert "a clock repaired, found by 2 h" in result.output
        assert "removed" not in result.output
