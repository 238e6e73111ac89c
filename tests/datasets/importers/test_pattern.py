"""Plain folders are read by a pattern."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hilum.core.case import Case
from hilum.core.errors import DataError, SettingsError
from hilum.core.geometry import Grid
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import read_manifest

GRID = Grid.from_spacing((3, 4, 5), (2.0, 1.0, 1.5))


def scans(root: Path, *names: str) -> Path:
    """Write a small scan of zeros for each name."""
    for name in names:
        write_volume(root / name, np.zeros(GRID.shape, np.int16), GRID)
    return root


def run(root: Path, pattern: str, *options: str, **names: str) -> list[Case]:
    options = (f"pattern={pattern}", *options)
    path = import_cohort("pattern", root, root.parent / "out", names, options=options)
    return read_manifest(path)


def test_a_folder_per_case(tmp_path: Path) -> None:
    root = scans(
        tmp_path / "raw", "a b/ct.nii.gz", "a b/mr_t1.nii", "a b/label.nii.gz", "c/CT.nii.gz"
    )
    scans(root, "c/ct_seg.nii.gz", "top.nii.gz")
    cases = run(root, "{case}/{modality}.nii.gz")
    assert [(case.id, case.patient, sorted(case.volumes)) for case in cases] == [
        ("a_b", "a b", ["ct", "mr_t1"]),
        ("c", "c", ["ct"]),
    ]
    assert cases[0].label == root / "a b" / "label.nii.gz"


def test_patient_case_and_modality_in_one_name(tmp_path: Path) -> None:
    names = ("P1_visit_1_ct", "P1_visit_1_suv", "P1_visit_2_ct", "P2_visit_1_ct", "P2_visit_1_gtv")
    root = scans(tmp_path / "raw", *(f"{name}.nii.gz" for name in names))
    cases = run(root, "{patient}_{case}_{modality}.nii.gz", suv="pet", gtv="label")
    assert [(case.id, case.patient, sorted(case.volumes)) for case in cases] == [
        ("P1_visit_1", "P1", ["ct", "pet"]),
        ("visit_2", "P1", ["ct"]),
        ("P2_visit_1", "P2", ["ct"]),
    ], "visit_1 alone would name two cases"
    assert [case.label is None for case in cases] == [True, True, False]


def test_sites_splits_labels_elsewhere_and_any_parts(tmp_path: Path) -> None:
    root = scans(
        tmp_path / "raw",
        *("Zürich/imagesTr/x/2024-05 ct v2.nii.gz", "Zürich/imagesTs/y/2024-06 ct v2.nii.gz"),
        *("masks/x.nii.gz", "masks/notes.nii.gz"),
    )
    label = "label=masks/{case}.nii.gz"
    cases = run(root, "{site}/images{split}/{case}/* {modality} *.nii.gz", label)
    assert [(c.id, c.site, c.split, c.label is None) for c in cases] == [
        ("x", "Zürich", "train", False),
        ("y", "Zürich", "test", True),
    ]


def test_one_modality_can_be_said_outright(tmp_path: Path) -> None:
    root = scans(tmp_path / "raw", "1.nii.gz", "2.nii.gz")
    cases = run(root, "{patient}.nii.gz", "modality=mr_t2")
    assert [(case.id, list(case.volumes)) for case in cases] == [("1", ["mr_t2"]), ("2", ["mr_t2"])]


def test_a_case_with_two_files_for_one_modality_is_left_out(tmp_path: Path) -> None:
    root = scans(tmp_path / "raw", "a/1_ct.nii", "a/2_ct.nii", "b/1_ct.nii", "c/1_ct.nii")
    (root / "c" / "1_ct.nii").write_bytes(b"x")
    lines: list[str] = []
    options = ["pattern='{case}/*_{modality}.nii.gz'"]
    import_cohort("pattern", root, tmp_path / "out", options=options, say=lines.append)
    assert "left out 2 of 3 cases:" in lines
    assert "one file may fit, found 1_ct.nii and 2_ct.nii for ct" in "\n".join(lines)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "pattern: field required"),
        (["pattern={modality}.nii.gz"], "a pattern must hold {case} or {patient}"),
        (["pattern='{modality}.nii.gz'"], "a pattern must hold {case} or {patient}"),
        (["pattern='{case}.nii.gz'"], "a pattern must hold {modality}.*or add modality=ct"),
        (["pattern='{case}/{scan}.nii.gz'"], "a pattern may hold {case}, {patient}, {modality}"),
        (["patern=x"], "patern: unknown setting, did you mean 'pattern'"),
    ],
)
def test_a_pattern_that_cannot_work_is_refused(
    tmp_path: Path, options: list[str], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        import_cohort("pattern", tmp_path, tmp_path / "out", options=options)


def test_no_fitting_file_says_how_many_there_were(tmp_path: Path) -> None:
    root = scans(tmp_path / "raw", "a/suv.nii.gz", "a/ct_seg.nii.gz")
    with pytest.raises(DataError, match=r"files like {case}/.*, found 2 files"):
        run(root, "{case}/{modality}.nii.gz")


def test_a_pattern_of_labels_that_fits_nothing_is_a_warning(tmp_path: Path) -> None:
    root = scans(tmp_path / "raw", "a/ct.nii.gz", "b/ct.nii.gz", "masks/a.nii.gz")
    for pattern, count, kind in (
        ("mask/{case}.nii.gz", 2, "warning"),
        ("masks/{case}.nii.gz", 1, ""),
    ):
        said: list[str] = []
        options = ["pattern={case}/{modality}.nii.gz", f"label={pattern}"]
        import_cohort("pattern", root, tmp_path / "out", options=options, say=said.append)
        (line,) = [line for line in said if "fits no file" in line]
        assert f"label={pattern} fits no file of {count} of 2 cases" in line
        assert line.startswith("warning") == bool(kind)
