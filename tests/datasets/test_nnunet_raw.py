"""nnU-Net's raw layout becomes cases with named modalities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hilum.core.case import Case
from hilum.core.errors import DataError, UserError
from hilum.datasets.nnunet_raw import import_nnunet_raw

SOUND = {"channel_names": {"0": "CT", "1": "SUV"}, "file_ending": ".nii.gz", "labels": {"node": 1}}
FILES = (
    *("imagesTr/x_0000.nii.gz", "imagesTr/x_0001.nii.gz", "labelsTr/x.nii.gz"),
    *("imagesTr/a b_2_0000.nii.gz", "imagesTr/a b_2_0001.nii.gz"),
    *("imagesTs/y_0000.nii.gz", "imagesTs/y_0001.nii.gz", "labelsTs/y.nii.gz"),
)


def make(root: Path, description: Any = SOUND, files: tuple[str, ...] = FILES) -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return root


def test_cases_get_their_files_and_their_split(tmp_path: Path) -> None:
    make(tmp_path, files=(*FILES, "imagesTr/readme.txt", "imagesTr/._x_0000.nii.gz"))
    train, test = tmp_path / "imagesTr", tmp_path / "imagesTs"
    assert import_nnunet_raw(tmp_path) == [
        Case(
            "a b_2",
            "a b_2",
            {"ct": train / "a b_2_0000.nii.gz", "pet": train / "a b_2_0001.nii.gz"},
            split="train",
        ),
        Case(
            "x",
            "x",
            {"ct": train / "x_0000.nii.gz", "pet": train / "x_0001.nii.gz"},
            tmp_path / "labelsTr" / "x.nii.gz",
            split="train",
        ),
        Case(
            "y",
            "y",
            {"ct": test / "y_0000.nii.gz", "pet": test / "y_0001.nii.gz"},
            tmp_path / "labelsTs" / "y.nii.gz",
            split="test",
        ),
    ]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("pet", " ct ", ("pet", "ct")),
        ("T1", "T2w", ("mr_t1", "mr_t2")),
        ("PT", "mr_dwi", ("pet", "mr_dwi")),
    ],
)
def test_channels_are_known_by_many_names(
    tmp_path: Path, first: str, second: str, expected: tuple[str, str]
) -> None:
    make(tmp_path, SOUND | {"channel_names": {"0": first, "1": second}})
    assert tuple(import_nnunet_raw(tmp_path)[0].volumes) == expected


def test_other_names_of_channels_can_be_mapped(tmp_path: Path) -> None:
    make(tmp_path, SOUND | {"channel_names": {"0": "CT", "1": "noNorm"}})
    assert "pet" in import_nnunet_raw(tmp_path, {"noNorm": "pet"})[0].volumes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"channel_names": {"0": "CT", "1": "noNorm"}},
            "channel 1 .* known name, found 'noNorm'.*map",
        ),
        ({"channel_names": {"0": "CT", "1": "ct"}}, "no modality may stand twice"),
        ({"channel_names": ["CT", "PET"]}, "must have channel_names"),
        ({"channel_names": None}, "must have channel_names"),
        ({"channel_names": {"first": "CT"}}, "must have channel_names"),
        ({"file_ending": ".nrrd"}, "file_ending must be .nii.gz or .nii, found .nrrd"),
        ({"file_ending": ".nii"}, "imagesTr must hold <case>_0000 files"),
        ({"channel_names": {"0": "CT", "1": "PET", "2": "MR"}}, "every channel .*_0002.nii.gz"),
        ({"labels": {"node": 1, "ignore": 2}}, "the ignore label must be 255, found 2"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        import_nnunet_raw(make(tmp_path, SOUND | change))


def test_a_missing_or_odd_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the folder must exist"):
        import_nnunet_raw(tmp_path / "none")
    with pytest.raises(UserError, match=r"dataset.json: the file must exist"):
        import_nnunet_raw(tmp_path)
    with pytest.raises(DataError, match="must describe a dataset"):
        import_nnunet_raw(make(tmp_path, []))
