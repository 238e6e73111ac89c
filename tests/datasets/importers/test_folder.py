"""A folder of cases is read by the names of its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.datasets.importers.folder import import_folder
from hilum.datasets.source import Source


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def cases_of(root: Path, names: dict[str, str] | None = None) -> list[Case]:
    return import_folder(Source(root, root / "out", names or {})).cases


def test_files_are_found_by_modality_and_others_left_alone(tmp_path: Path) -> None:
    make(
        tmp_path,
        *("a/ct.nii.gz", "a/PET.nii", "a/mr_t1.nii.gz", "a/label.nii.gz"),
        *("a/label_pet.nii.gz", "a/ct_seg.nii.gz", "a/pet_mask.nii", "a/notes.txt", "a/ct.png"),
        *("a/._ct.nii.gz", "a/instances.nii.gz", "b ö/mr.nii.gz", "c/label.nii.gz"),
        *(".cache/ct.nii.gz", "ct.nii.gz"),
    )
    a, b = tmp_path / "a", tmp_path / "b ö"
    assert cases_of(tmp_path) == [
        Case(
            "a",
            "a",
            {"pet": a / "PET.nii", "ct": a / "ct.nii.gz", "mr_t1": a / "mr_t1.nii.gz"},
            a / "label.nii.gz",
        ),
        Case("b ö", "b ö", {"mr": b / "mr.nii.gz"}),
    ]


def test_other_names_can_be_mapped(tmp_path: Path) -> None:
    make(tmp_path, "a/SUV.nii.gz", "a/CTres.nii.gz", "a/SEG.nii.gz")
    (case,) = cases_of(tmp_path, {"suv": "pet", "CTres": "ct", "seg": "label"})
    assert {name: file.name for name, file in case.volumes.items()} == {
        "ct": "CTres.nii.gz",
        "pet": "SUV.nii.gz",
    }
    assert case.label == tmp_path / "a" / "SEG.nii.gz"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "must hold a folder per case.*give the folder above the cases"),
        (["ct.nii.gz", "pet.nii.gz"], "must hold a folder per case"),
        (["a/scan.nii.gz"], "no file is named after a modality: scan"),
        (
            ["a/ct.nii", "a/ct.nii.gz"],
            r"the first, a: .*one file for ct, found ct\.nii and ct",
        ),
    ],
)
def test_a_folder_without_clear_cases_is_refused(
    tmp_path: Path, names: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        cases_of(make(tmp_path, *names))


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        cases_of(tmp_path / "none")


def test_one_bad_case_does_not_stop_the_others(tmp_path: Path) -> None:
    make(tmp_path, "a/ct.nii", "a/ct.nii.gz", "b/ct.nii", "c/scan.nii")
    found = import_folder(Source(tmp_path, tmp_path))
    assert [case.id for case in found.cases] == ["b"]
    assert [entry.case for entry in found.left_out] == ["a", "c"]
