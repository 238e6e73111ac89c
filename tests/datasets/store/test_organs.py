"""Organs share an array with the label, and come apart again with nothing lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.loading.datamodule import PatchData
from hilum.datasets.loading.settings import LoadingSettings, PatchSettings
from hilum.datasets.manifest import write_manifest
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.datasets.store.case_store import CaseStore
from hilum.datasets.store.organs import split_organs, with_organs

from ...patch_sets import patch_set

GRID = Grid.from_spacing((6, 9, 11), (4, 3, 3))


@pytest.fixture
def store(tmp_path: Path) -> CaseStore:
    """Return a store whose first case has organs 5 and 200, and whose second has none."""
    cases = []
    for name in ("a", "b"):
        ct = np.full(GRID.shape, 40, np.float32)
        ct[:, 0] = -1000
        label, organs = np.zeros((2, *GRID.shape), np.uint8)
        label[2:4, 4:6, 5:8] = 1
        organs[:3, 4:6], organs[5] = 5, 200
        files = {"ct": write_volume(tmp_path / name / "ct.nii.gz", ct, GRID)}
        mask = write_volume(tmp_path / name / "label.nii.gz", label, GRID)
        places = write_volume(tmp_path / name / "organs.nii.gz", organs, GRID)
        cases.append(Case(name, name, files, mask, anatomy=places if name == "a" else None))
    how = PrepareSettings.model_validate({"body_crop": False})
    return prepare(write_manifest(tmp_path / "m.csv", cases), tmp_path / "store", how)


def test_organs_get_numbers_behind_the_classes_and_nodes_win(store: CaseStore) -> None:
    case = store["a"]
    start, sides = (-1, 2, 3), (8, 5, 6)
    label = case.read(start, sides, ("ct",)).label
    assert label is not None
    both = with_organs(label, case, start, (200, 5), 2)
    assert both[0].max() == 0, "outside"
    assert (both[6] == 2).all(), "organ 200"
    assert (both[1:4, 2:4] == np.where(label[1:4, 2:4] == 1, 1, 3)).all(), "organ 5, or the node"
    assert with_organs(label, case, start, (5,), 2)[6].max() == 0, "organ 200 was not asked for"


def test_what_was_joined_comes_apart(store: CaseStore) -> None:
    for name, known in (("a", True), ("b", False)):
        label = np.asarray(store[name].label).copy()
        label[0, 0, 0] = 255
        both = torch.from_numpy(with_organs(label, store[name], (0, 0, 0), (200, 5), 2))
        nodes, every = split_organs(both, 2)
        assert_array_equal(nodes, label)
        assert set(np.unique(every)) == ({0, 1, 2, 3, 255} if known else {1, 255})
        assert int(every[0, 0, 0]) == 255


def test_only_training_patches_have_organs(store: CaseStore) -> None:
    patches = patch_set(store, ["a"], GRID.shape, 1, 0, foreground=0, organs=(5,))
    assert set(np.unique(patches[0].get("label", 0))) == {0, 1, 2}
    data = PatchData(
        store,
        ["a"],
        ["b"],
        loading=LoadingSettings(
            PatchSettings((4, 4, 4), organs=(5,)), batch_size=1, steps=2, seed=0
        ),
    )
    assert data._training(2).settings.organs == (5,)
    assert data._validating().settings.organs == ()


def test_a_head_without_any_mask_of_organs_is_an_error(store: CaseStore) -> None:
    with pytest.raises(DataError, match=r"an organ head needs training cases.*none in 1 cases"):
        PatchData(
            store,
            ["b"],
            loading=LoadingSettings(
                PatchSettings((4, 4, 4), organs=(5,)), batch_size=1, steps=1, seed=0
            ),
        )


def test_numbers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    organs = write_volume(tmp_path / "organs.nii.gz", np.full(GRID.shape, 300, np.int16), GRID)
    body = np.full(GRID.shape, 40, np.float32)
    body[:, 0] = -1000
    ct = write_volume(tmp_path / "ct.nii.gz", body, GRID)
    label = write_volume(tmp_path / "label.nii.gz", np.zeros(GRID.shape, np.uint8), GRID)
    case = replace(Case("a", "a", {"ct": ct}, label), anatomy=organs)
    with pytest.raises(DataError, match=r"case a: .*numbers from 1 to 255, found 300"):
        prepare(
            write_manifest(tmp_path / "m.csv", [case]),
            tmp_path / "s",
            PrepareSettings.model_validate({}),
        )
