"""A task of the Decathlon is read from its list of files; channels are split losslessly."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import read_volume, write_volume
from hilum.datasets.manifest import read_manifest

GRID = Grid.from_spacing((3, 4, 5), (2.0, 1.0, 1.5))


def scans(root: Path, *names: str) -> Path:
    """Write a small scan of zeros for each name."""
    for name in names:
        write_volume(root / name, np.zeros(GRID.shape, np.int16), GRID)
    return root


def tree(root: Path, channels: dict[str, str]) -> Path:
    scans(root, "imagesTr/hepatic_001.nii.gz", "imagesTr/hepatic_002.nii.gz")
    scans(root, "labelsTr/hepatic_001.nii.gz", "labelsTr/hepatic_002.nii.gz")
    scans(root, "imagesTs/hepatic_003.nii.gz")
    description = {
        "modality": channels,
        "labels": {"0": "background", "1": "node"},
        "training": [
            {"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"}
            for n in ("hepatic_001", "hepatic_002")
        ],
        "test": ["./imagesTs/hepatic_003.nii.gz"],
    }
    (root / "dataset.json").write_text(json.dumps(description))
    return root


def write_channels(file: Path, count: int) -> np.ndarray:
    """Write a 4D image along odd axes, as the tasks of MR are."""
    affine = np.array([[0, 0, 1.5, 3], [-0.7, 0, 0, 4], [0, 0.8, 0, 5], [0, 0, 0, 1.0]])
    array = np.arange(3 * 4 * 5 * count, dtype=np.int16).reshape(3, 4, 5, count)
    nibabel.save(nibabel.Nifti1Image(array, affine), file)
    return array


def test_one_modality_stays_where_it_is(tmp_path: Path) -> None:
    root = tree(tmp_path / "Task08_HepaticVessel", {"0": "CT"})
    cases = read_manifest(import_cohort("decathlon", root, tmp_path / "out"))
    assert [(case.id, case.split, case.label is None) for case in cases] == [
        ("hepatic_001", "train", False),
        ("hepatic_002", "train", False),
        ("hepatic_003", "test", True),
    ]
    assert cases[0].volumes == {"ct": root / "imagesTr" / "hepatic_001.nii.gz"}
    assert not (tmp_path / "out" / "cases").exists()


def test_the_fourth_axis_becomes_modalities(tmp_path: Path) -> None:
    root = tree(tmp_path / "Task05_Prostate", {"0": "T2", "1": "ADC"})
    file = root / "imagesTr" / "hepatic_002.nii.gz"
    array = write_channels(file, 2)
    write_channels(root / "imagesTs" / "hepatic_003.nii.gz", 3)
    (root / "imagesTr" / "hepatic_001.nii.gz").write_bytes(b"x")
    lines: list[str] = []
    path = import_cohort("decathlon", root, tmp_path / "out", {"ADC": "mr_adc"}, say=lines.append)
    (case,) = read_manifest(path)
    assert list(case.volumes) == ["mr_t2", "mr_adc"]
    whole = nibabel.load(file)
    for number, name in enumerate(("mr_t2", "mr_adc")):
        part = nibabel.load(case.volumes[name])
        np.testing.assert_array_equal(np.asarray(part.dataobj), array[..., number])
        np.testing.assert_allclose(part.affine, whole.affine, atol=1e-6)
        assert read_volume(case.volumes[name]).array.shape == (5, 4, 3)
    text = "\n".join(lines)
    assert "2 channels on its fourth axis, found 3 x 4 x 5 x 3" in text
    assert "hepatic_001: case hepatic_001" in text


def test_a_listed_file_that_is_not_there_leaves_out_its_case(tmp_path: Path) -> None:
    root = tree(tmp_path / "in" / "Task", {"0": "CT"})
    (root / "labelsTr" / "hepatic_001.nii.gz").unlink()
    path = import_cohort("decathlon", root.parent, tmp_path / "out")
    assert [case.id for case in read_manifest(path)] == ["hepatic_002", "hepatic_003"]


def test_another_description_and_an_unknown_modality_are_refused(tmp_path: Path) -> None:
    root = tree(tmp_path / "Task", {"0": "ADC"})
    with pytest.raises(DataError, match=r"channel 0 must have a known name, found 'ADC'; .*ADC=ct"):
        import_cohort("decathlon", root, tmp_path / "out")
    (root / "dataset.json").write_text('{"channel_names": {"0": "CT"}}')
    with pytest.raises(DataError, match="with the lists training and test"):
        import_cohort("decathlon", root, tmp_path / "out")
