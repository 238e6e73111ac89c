"""nnU-Net's raw layout becomes cases with named modalities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.core.case import Case
from hilum.core.errors import DataError, UserError
from hilum.core.geometry import Grid
from hilum.datasets.importers.nnunet_raw import import_nnunet_raw
from hilum.datasets.io.nifti import read_label, write_volume
from hilum.datasets.source import Source

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


def cases_of(root: Path, names: dict[str, str] | None = None) -> list[Case]:
    return import_nnunet_raw(Source(root, root / "out", names or {})).cases


def test_cases_get_their_files_and_their_split(tmp_path: Path) -> None:
    make(tmp_path, files=(*FILES, "imagesTr/readme.txt", "imagesTr/._x_0000.nii.gz"))
    train, test = tmp_path / "imagesTr", tmp_path / "imagesTs"
    assert cases_of(tmp_path) == [
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
    assert tuple(cases_of(tmp_path)[0].volumes) == expected


def test_other_names_of_channels_can_be_mapped(tmp_path: Path) -> None:
    make(tmp_path, SOUND | {"channel_names": {"0": "CT", "1": "noNorm"}})
    assert "pet" in cases_of(tmp_path, {"noNorm": "pet"})[0].volumes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"channel_names": {"0": "CT", "1": "noNorm"}},
            "channel 1 .* known name, found 'noNorm'; .*--name noNorm=ct",
        ),
        ({"channel_names": {"0": "CT", "1": "ct"}}, "no modality may stand twice"),
        ({"channel_names": ["CT", "PET"]}, "must have channel_names"),
        ({"channel_names": None}, "must have channel_names"),
        ({"channel_names": {"first": "CT"}}, "must have channel_names"),
        ({"file_ending": ".nrrd"}, "file_ending must be .nii.gz or .nii, found .nrrd"),
        ({"file_ending": ".nii"}, "must hold imagesTr with <case>_0000.nii, found none"),
        (
            {"channel_names": {"0": "CT", "1": "PET", "2": "MR"}},
            "3 bad ones; .* every channel .* no a b_2_0002",
        ),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        cases_of(make(tmp_path, SOUND | change))


def test_a_missing_or_odd_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        cases_of(tmp_path / "none")
    with pytest.raises(UserError, match=r"must hold dataset.json, imagesTr and labelsTr"):
        cases_of(tmp_path)
    with pytest.raises(DataError, match="must describe a dataset"):
        cases_of(make(tmp_path, []))


def test_a_case_without_a_channel_is_left_out(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "imagesTr" / "x_0001.nii.gz").unlink()
    found = import_nnunet_raw(Source(tmp_path, tmp_path / "out"))
    assert [case.id for case in found.cases] == ["a b_2", "y"]
    assert "case x: every channel of a case must be there, found no x_0001" in str(found.left_out)


def test_the_ignore_label_becomes_255_in_a_copy(tmp_path: Path) -> None:
    grid = Grid.from_spacing((2, 3, 4), (3.0, 2.0, 1.0))
    array = (np.arange(24) % 3).reshape(grid.shape).astype(np.uint8)
    labels = {"background": 0, "node": 1, "ignore": 2}
    make(tmp_path, SOUND | {"labels": labels})
    write_volume(tmp_path / "labelsTr" / "x.nii.gz", array, grid)
    found = import_nnunet_raw(Source(tmp_path, tmp_path / "out"))
    (case,) = (case for case in found.cases if case.id == "x")
    assert case.label == tmp_path / "out" / "cases" / "x" / "label.nii.gz"
    expected = array.copy()
    expected[array == 2] = 255
    np.testing.assert_array_equal(read_label(case.label).array, expected)
    assert [entry.case for entry in found.left_out] == ["y"], "an empty file is no mask"
