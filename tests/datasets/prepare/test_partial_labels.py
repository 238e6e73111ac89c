"""What nobody marked is unknown; air, lung and known organs stay background."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import read_manifest, write_manifest
from hilum.datasets.prepare.partial_labels import organ_names, with_unknown
from hilum.datasets.prepare.run import PrepareSettings, prepare

GRID = Grid.from_spacing((6, 9, 11), (4, 3, 3))
SETTINGS = PrepareSettings.model_validate({"body_crop": False})


def test_each_kind_of_voxel_by_hand() -> None:
    #                  node, air outside, lung, organ, node in an organ, soft tissue, unknown
    label = np.array([[[1, 0, 0, 0, 2, 0, 255]]], np.uint8)
    body = np.array([[[1, 0, 1, 1, 1, 1, 1]]], bool)
    ct = np.array([[[40, -1000, -800, 50, 50, 30, 20]]])
    organs = np.array([[[0, 0, 0, 7, 7, 0, 0]]])
    assert with_unknown(label, body, ct, organs).ravel().tolist() == [1, 0, 0, 0, 2, 255, 255]
    assert with_unknown(label, body).ravel().tolist() == [1, 0, 255, 255, 2, 255, 255]


def patient(folder: Path) -> Case:
    ct = np.full(GRID.shape, -1000, np.float32)
    ct[:, 1:8, 1:10] = 40
    ct[3:5, 2:4, 2:4] = -700  # lung
    label = np.zeros(GRID.shape, np.uint8)
    label[2:4, 4:6, 5:8] = 1
    files = {"ct": write_volume(folder / "ct.nii.gz", ct, GRID)}
    mask = write_volume(folder / "label.nii.gz", label, GRID)
    return Case("a", "a", files, mask, anatomy=_organs(folder, GRID))


def _organs(folder: Path, grid: Grid) -> Path:
    organs = np.zeros(grid.shape, np.uint8)
    organs[1:4, 6:8, 2:9] = 5
    return write_volume(folder / "organs.nii.gz", organs, grid)


def test_a_partial_case_is_prepared_with_unknown_voxels(tmp_path: Path) -> None:
    whole = replace(patient(tmp_path / "a"), anatomy=None)
    partial = replace(patient(tmp_path / "b"), id="b", patient="b", partial=True)
    manifest = write_manifest(tmp_path / "manifest.csv", [whole, partial])
    assert [case.anatomy for case in read_manifest(manifest)] == [None, partial.anatomy]
    store = prepare(manifest, tmp_path / "store", SETTINGS)
    drawn, found = np.asarray(store["a"].label), np.asarray(store["b"].label)
    assert set(np.unique(drawn)) == {0, 1}
    assert_array_equal(found == 1, drawn == 1)
    outside = (np.asarray(store["b"].regions) & 1) == 0
    assert (found[outside] == 0).all()
    assert (found[3:5, 2:4, 2:4] == 0).all(), "lung"
    assert (found[1:4, 6:8, 2:9] == 0).all(), "organ"
    assert (found[2:4, 5, 3] == 255).all(), "beside it"
    assert [node["voxels"] for node in store["b"].nodes] == [12]


def test_a_cohort_that_turns_out_to_be_partial_is_prepared_again(tmp_path: Path) -> None:
    case = patient(tmp_path / "a")
    prepare(write_manifest(tmp_path / "m.csv", [case]), tmp_path / "store", SETTINGS)
    manifest = write_manifest(tmp_path / "m.csv", [replace(case, partial=True)])
    store = prepare(manifest, tmp_path / "store", SETTINGS)
    assert (np.asarray(store["a"].label) == 255).any()


def test_a_mask_of_organs_beside_the_patient_is_refused(tmp_path: Path) -> None:
    case = replace(patient(tmp_path / "a"), partial=True)
    far = Grid(GRID.shape, GRID.affine + np.array([[0, 0, 0, 900.0]] * 3 + [[0] * 4]))
    case = replace(case, anatomy=_organs(tmp_path / "far", far))
    with pytest.raises(DataError, match=r"case a: .*mask of organs must lie on the patient"):
        prepare(write_manifest(tmp_path / "m.csv", [case]), tmp_path / "store", SETTINGS)


def test_names_of_organs_are_read_either_way_round(tmp_path: Path) -> None:
    file = tmp_path / "organs.nii.gz"
    assert organ_names(file) == {}
    for text in ('{"5": "aorta", "7": "liver"}', '{"aorta": 5, "liver": 7}'):
        (tmp_path / "organs.json").write_text(text)
        assert organ_names(file) == {5: "aorta", 7: "liver"}
    (tmp_path / "organs.json").write_text('["aorta"]')
    with pytest.raises(DataError, match="must be a JSON object"):
        organ_names(file)
