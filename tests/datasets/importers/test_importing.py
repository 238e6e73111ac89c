"""Any layout ends as a manifest, with a record of what was left out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hilum.core.errors import DataError, RunError, SettingsError
from hilum.core.geometry import Grid
from hilum.datasets.importers.importing import FORMATS, import_cohort
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import read_manifest

from ...command import hilum

GRID = Grid.from_spacing((3, 4, 5), (2.0, 1.0, 1.5))


def scan(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_volume(path, np.zeros(GRID.shape, np.int16), GRID)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("b", "a"):
        scan(tmp_path / "raw" / name / "ct.nii.gz")
    return tmp_path / "raw"


def damaged(root: Path) -> Path:
    (root / "c").mkdir()
    (root / "c" / "ct.nii.gz").write_bytes(b"no scan")
    return root


@pytest.mark.parametrize("out", ["out", "out/other.csv"])
def test_a_layout_becomes_a_manifest(root: Path, out: str) -> None:
    path = import_cohort("folder", root, root.parent / out)
    assert path.name == ("other.csv" if out.endswith("csv") else "manifest.csv")
    cases = read_manifest(path)
    assert [(case.id, case.volumes) for case in cases] == [
        (name, {"ct": root / name / "ct.nii.gz"}) for name in ("a", "b")
    ]


def test_names_are_mapped_on_the_way(root: Path) -> None:
    scan(root / "a" / "suv.nii.gz")
    path = import_cohort("folder", root, root.parent / "out", {"suv": "pet"})
    assert read_manifest(path)[0].volumes["pet"] == root / "a" / "suv.nii.gz"


def test_a_case_that_cannot_be_read_is_left_out_and_named(root: Path) -> None:
    lines: list[str] = []
    damaged(root)
    scan(root / "con" / "ct.nii.gz")
    path = import_cohort("folder", root, root.parent / "out", say=lines.append, workers=2)
    assert [case.id for case in read_manifest(path)] == ["a", "b"]
    record = json.loads(path.with_name("import.json").read_text())
    assert [entry["case"] for entry in record["left_out"]] == ["con", "c"]
    assert "must be readable NIfTI" in record["left_out"][1]["reason"]
    assert str(root / "c" / "ct.nii.gz") in record["left_out"][1]["reason"]
    assert (record["format"], record["cases"], record["root"]) == ("folder", 2, str(root))
    assert lines[0] == f"wrote {path}: 2 cases of 2 patients; ct 2; labelled 0"
    assert lines[1] == "left out 2 of 4 cases:"
    assert lines[3].startswith("  c: case c: ")


def test_nothing_but_bad_cases_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(DataError, match="one case must be sound, found 1 bad ones; the first, c:"):
        import_cohort("folder", damaged(tmp_path / "raw"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_labels_can_be_declared_partial(root: Path) -> None:
    scan(root / "a" / "label.nii.gz")
    cases = read_manifest(import_cohort("folder", root, root.parent / "out", partial=True))
    assert [case.partial for case in cases] == [True, False]


def test_a_name_that_is_no_utf_8_is_left_out_readably(root: Path) -> None:
    odd = root / "c\udcff"
    try:
        scan(odd / "ct.nii.gz")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    lines: list[str] = []
    path = import_cohort("folder", root, root.parent / "out", say=lines.append)
    assert [case.id for case in read_manifest(path)] == ["a", "b"]
    assert "usable as the name of a folder, found 'c\\udcff'" in "\n".join(lines)
    "\n".join(lines).encode()


def test_a_file_name_that_is_no_utf_8_is_left_out_readably(root: Path) -> None:
    try:
        scan(root / "d\udcff_ct.nii.gz")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    scan(root / "e_ct.nii.gz")
    lines: list[str] = []
    options = ["pattern='{case}_{modality}.nii.gz'"]
    import_cohort("pattern", root, root.parent / "out", options=options, say=lines.append)
    assert "case d: names of files and patients must be UTF-8, found d\\udcff" in "\n".join(lines)


def test_a_name_that_met_nothing_is_told(root: Path) -> None:
    lines: list[str] = []
    import_cohort("folder", root, root.parent / "out", {"suvv": "pet"}, say=lines.append)
    assert "warning: no case has pet, which suvv=pet asks for" in lines


def test_progress_counts_the_cases(root: Path) -> None:
    seen: list[tuple[int, int, str]] = []

    def show(done: int, total: int, case: str) -> None:
        seen.append((done, total, case))

    import_cohort("folder", root, root.parent / "out", progress=show)
    assert seen == [(1, 2, "a"), (2, 2, "b")]


def test_a_misspelt_format_gets_a_suggestion(root: Path) -> None:
    with pytest.raises(SettingsError, match=r"did you mean 'folder'\?; choose from folder"):
        import_cohort("folders", root, root.parent / "out")


def test_a_name_can_only_be_mapped_to_a_modality_or_the_label(root: Path) -> None:
    with pytest.raises(SettingsError, match="unknown modality 'pett'"):
        import_cohort("folder", root, root.parent / "out", {"suv": "pett"})


def test_a_format_without_settings_takes_none(root: Path) -> None:
    with pytest.raises(SettingsError, match="format folder has no settings, found suv=bw"):
        import_cohort("folder", root, root.parent / "out", options=["suv=bw"])


def test_nothing_is_written_when_the_layout_is_bad(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="a folder per case"):
        import_cohort("folder", tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_names_the_file_that_reads_it(name: str, tmp_path: Path) -> None:
    importer = FORMATS[name].importer(name)
    assert importer.__name__ == f"import_{name}"
    assert FORMATS[name].definition


@pytest.mark.parametrize("name", [n for n in FORMATS if n not in ("pattern", "table", "dicom")])
def test_a_folder_of_another_kind_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "raw" / "photos").mkdir(parents=True)
    (tmp_path / "raw" / "photos" / "x.jpg").touch()
    for where, found in (("raw", "must hold"), ("none", "no such folder")):
        with pytest.raises(DataError, match=found) as error:
            import_cohort(name, tmp_path / where, tmp_path / "out")
        assert "\n" not in str(error.value)
    assert not (tmp_path / "out" / "manifest.csv").exists()


def test_every_format_has_its_command_in_the_documentation() -> None:
    text = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text(encoding="utf-8")
    assert [name for name in FORMATS if f"hilum import {name} " not in text] == []


@pytest.mark.slow
def test_the_command_tells_what_it_left_out(root: Path) -> None:
    scan(damaged(root) / "a" / "S=V.nii.gz")
    words: Sequence[str] = ("--name", "s=v=pet", "--workers", "2", "--partial")
    ran = hilum("import", "folder", "raw", "--out", "out", *words, cwd=root.parent)
    assert ran.returncode == 0, ran.stderr
    assert "2 cases of 2 patients; ct 2, pet 1; labelled 0" in ran.stdout
    assert "left out 1 of 3 cases:\n  c: case c:" in ran.stdout
    ran = hilum("import", "folder", "raw", "--out", "out", "--name", "suv", cwd=root.parent)
    assert (ran.returncode, "written word=modality, found suv" in ran.stderr) == (2, True)
    pattern = "pattern={patient}/{modality}.nii.gz"
    ran = hilum(
        "import", "pattern", "raw", pattern, "--out", "2", "--name", "s=v=pet", cwd=root.parent
    )
    assert "2 cases of 2 patients; ct 2, pet 1" in ran.stdout, ran.stderr
    ran = hilum("list", "formats", cwd=root.parent)
    assert "HECKTOR 2022, 2025, 2026" in ran.stdout
    words = ("export-nnunet", "out/manifest.csv", "--out", "Dataset001_X", "folds=0")
    ran = hilum(*words, cwd=root.parent)
    assert (ran.returncode, "case a: it has no label to train with" in ran.stderr) == (2, True)


def test_no_format_is_imported_before_it_is_asked_for() -> None:
    code = (
        "import sys\nimport hilum.datasets.importers.importing\n"
        "print([m for m in sys.modules if m.endswith(('lnq', 'SimpleITK', 'hecktor'))])"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert ran.stdout.strip() == "[]", ran.stderr


def test_another_folder_never_takes_the_place_of_a_manifest(root: Path) -> None:
    out, lines = root.parent / "out", []
    file = import_cohort("folder", root, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    scan(root.parent / "other" / "x" / "ct.nii.gz")
    with pytest.raises(
        RunError, match=r"stay that of one folder, found the cases of .*raw"
    ) as told:
        import_cohort("folder", root.parent / "other", out)
    assert "\n" not in str(told.value)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    import_cohort("folder", root.parent / "other", out / "second.csv")
    assert [case.id for case in read_manifest(out / "second.csv")] == ["x"]
    assert import_cohort("folder", root / ".." / "raw", out) == file
    root.rename(root.parent / "moved")
    import_cohort("folder", root.parent / "moved", out, say=lines.append)
    assert any("which is no longer there" in line for line in lines)
    assert len(read_manifest(file)) == 2
