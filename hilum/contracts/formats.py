"""What every importer must keep; run by pytest, once for each `name`."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilum.core.errors import DataError
from hilum.core.modality import modality
from hilum.datasets.importers.importing import FORMATS, import_cohort, read_layout
from hilum.datasets.io.nifti import read_grid
from hilum.datasets.manifest import check_id, read_manifest
from hilum.datasets.source import Imported, Source

TABLE = FORMATS


def example_of(name: str, folder: Path) -> Path:
    """Write the format's own example, or skip the check."""
    write = FORMATS[name].example
    if write is None:
        pytest.skip("it has no example")
    folder.mkdir()
    write(folder)
    return folder


def state_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read(name: str, root: Path, out: Path) -> Imported:
    return read_layout(name, Source(root, out))


def test_it_says_in_a_line_what_it_reads(name: str) -> None:
    assert FORMATS[name].definition.strip()
    assert "\n" not in FORMATS[name].definition


def test_a_folder_of_another_kind_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    if FORMATS[name].options:
        pytest.skip("it needs settings of its own")
    (tmp_path / "raw" / "photos").mkdir(parents=True)
    (tmp_path / "raw" / "photos" / "x.jpg").touch()
    for where in ("raw", "none"):
        with pytest.raises(DataError) as error:
            import_cohort(name, tmp_path / where, tmp_path / "out")
        assert "\n" not in str(error.value)
    assert not (tmp_path / "out" / "manifest.csv").exists()


def test_its_example_is_read_without_a_change_and_always_alike(name: str, tmp_path: Path) -> None:
    root = example_of(name, tmp_path / "raw")
    before = state_of(root)
    first, again = (read(name, root, tmp_path / out) for out in ("one", "two"))
    assert state_of(root) == before
    assert first.cases
    assert not first.left_out
    assert [(c.id, c.patient) for c in first.cases] == [(c.id, c.patient) for c in again.cases]


def test_the_cases_of_its_example_can_be_used(name: str, tmp_path: Path) -> None:
    root = example_of(name, tmp_path / "raw")
    found = read(name, root, tmp_path / "out").cases
    assert len({case.id for case in found}) == len(found)
    for case in found:
        assert check_id(case.id) == case.id
        assert case.patient
        assert case.volumes
        for kind, file in case.volumes.items():
            modality(kind)
            read_grid(file, case.id)
    written = import_cohort(name, root, tmp_path / "out")
    assert [case.id for case in read_manifest(written)] == [case.id for case in found]
