"""Batches from threads are the batches, and what is changed while it is read is changed alike."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.core.files import write_json
from hilum.core.geometry import Grid, IntTriple
from hilum.datasets.augmentation.paired import PairedAugmentation
from hilum.datasets.augmentation.settings import AugmentationSettings
from hilum.datasets.batch import collate
from hilum.datasets.loading.loader import PatchLoader
from hilum.datasets.loading.patches import PatchDataset
from hilum.datasets.loading.settings import PatchSettings
from hilum.datasets.store.case_store import (
    VERSION,
    CaseStore,
    PreparedCase,
    StoredCase,
    write_case,
)
from hilum.datasets.store.foreground import nodes_of
from hilum.datasets.store.index import index_row

from ...patch_sets import patch_set

SIDES: IntTriple = (30, 34, 38)
PATCH: IntTriple = (8, 10, 12)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    """Two cases with their nodes far from the border; the second one lacks a PET."""
    folder: Path = tmp_path_factory.mktemp("store")
    grid, rows = Grid.from_spacing(SIDES, (3, 2, 2)), []
    for number, names in enumerate((("ct", "pet"), ("ct",))):
        generator = np.random.default_rng(number)
        label = np.zeros(SIDES, np.uint8)
        label[14:16, 16:19, 18:20] = 1
        case = PreparedCase(
            id=f"case {number}",
            patient=f"p{number}",
            site="",
            split="",
            images=generator.normal(20, 50, (len(names), *SIDES)).astype(np.float16),
            modalities=names,
            regions=np.full(SIDES, 7 if number == 0 else 3, np.uint8),
            label=label,
            grid=grid,
            source_grid=grid,
            factors=dict.fromkeys(names, 1.0),
            inputs={},
        )
        write_case(folder / case.id, case, *nodes_of(label, grid, case.id))
        rows.append(index_row(StoredCase(folder / case.id).about))
    about = {"version": VERSION, "modalities": ["ct", "pet"], "spacing": [3, 2, 2], "classes": 2}
    write_json(folder / "store.json", about | {"fingerprint": "f", "cases": rows})
    return CaseStore(folder)


def wild(**changes: Any) -> AugmentationSettings:
    """Return settings in which everything happens often."""
    often = {
        name: {"p": 0.7}
        for name in ("scale", "suv_scale", "resolution", "blur", "noise", "gamma", "low_resolution")
    }
    return AugmentationSettings.model_validate(
        {**often, "misalign": {"pet": 6.0}, "misalign_p": 0.6, "reach": 3.0, **changes}
    )


def ways(store: CaseStore, settings: AugmentationSettings) -> tuple[PatchDataset, PatchDataset]:
    """Return the dataset that changes patches while it reads, and the one that reads boxes."""
    augmentation = PairedAugmentation(("ct", "pet"), PATCH, store.spacing, settings)
    early = patch_set(store, store.ids, PATCH, 24, 5, foreground=1.0, augmentation=augmentation)
    box = augmentation.read_shape()
    late = patch_set(store, store.ids, box, 24, 5, foreground=1.0, inner=PATCH)
    return early, late


@pytest.mark.parametrize("turns", [0.0, 0.7])
def test_changing_while_reading_equals_changing_the_batch(store: CaseStore, turns: float) -> None:
    settings = wild(rotation={"p": turns, "low": -20, "high": 20}, count_noise={"p": 0.7})
    early, late = ways(store, settings)
    assert early.augmentation is not None
    for index in range(len(early)):
        one = collate([early[index]])
        two = early.augmentation(collate([late[index]]))
        assert one["case"] == two["case"]
        assert torch.equal(one["available"], two["available"])
        for name in ("regions", "label"):
            # A voxel on the boundary may fall to either side where rounding decides.
            assert (one[name] != two[name]).float().mean() < 0.003, name  # pyright: ignore
        same = (one["regions"] == two["regions"]).expand_as(one["image"])
        assert_close(one["image"][same], two["image"][same], atol=2e-3, rtol=0)


def test_no_more_is_read_than_a_plan_needs(store: CaseStore) -> None:
    augmentation = PairedAugmentation(
        ("ct", "pet"), PATCH, store.spacing, AugmentationSettings.none(mirror=(1.0, 1.0, 0.0))
    )
    low, sides = augmentation.box(augmentation.plan(0, (True, True)))
    assert low.tolist() == [0, 0, 0]
    assert sides == PATCH
    grown = PairedAugmentation(
        ("ct",),
        PATCH,
        store.spacing,
        AugmentationSettings.none(scale={"p": 1, "low": 2, "high": 2}),
    )
    low, sides = grown.box(grown.plan(0, (True,)))
    # Half the size: indices 1.75 to 5.25, 2.25 to 6.75 and 2.75 to 8.25.
    assert (low.tolist(), sides) == ([1, 2, 2], (6, 6, 8))


def test_corners_of_a_turned_patch_are_real(store: CaseStore) -> None:
    settings = AugmentationSettings.none(
        rotation={"p": 1, "low": 30, "high": 30}, scale={"p": 1, "low": 0.8, "high": 0.8}, reach=1
    )
    early, late = ways(store, settings)
    assert early.augmentation is not None
    assert (early[0]["regions"] > 0).all()
    cut = early.augmentation(collate([late[0]]))
    assert not (cut["regions"] > 0).all(), "the box of one reach has corners of air"


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_threads_gives_the_same_batches(store: CaseStore, workers: int) -> None:
    dataset, _ = ways(store, wild())
    alone = list(PatchLoader(dataset, 4, range(22)))
    several = list(PatchLoader(dataset, 4, range(22), workers=workers))
    assert len(alone) == len(several) == 5, "a rest is left out"
    for one, other in zip(alone, several, strict=True):
        for name, value in one.items():
            same = torch.equal(value, other[name]) if isinstance(value, Tensor) else None  # pyright: ignore
            assert same or value == other[name], name  # pyright: ignore


class Watching(PatchDataset):
    """Note how many threads torch would use where items are made."""

    def __getitem__(self, index: int) -> Any:
        self.seen = {
            *getattr(self, "seen", set()),
            (threading.get_ident(), torch.get_num_threads()),
        }
        return super().__getitem__(index)


def test_threads_use_one_core_each_and_leave_the_others_as_they_were(store: CaseStore) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        dataset = Watching(store, store.ids, PatchSettings(PATCH), 24, 5)
        assert len(list(PatchLoader(dataset, 2, range(24), workers=2))) == 12
        assert {count for _, count in dataset.seen} == {1}
        assert threading.get_ident() not in {thread for thread, _ in dataset.seen}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_loader_that_is_left_early_stops_its_threads(store: CaseStore) -> None:
    dataset, _ = ways(store, wild())
    batches = iter(PatchLoader(dataset, 1, range(24), workers=2))
    next(batches)
    batches.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert not [t for t in threading.enumerate() if t.name.startswith("patches")]


def test_an_augmentation_for_other_patches_is_one_clear_error(store: CaseStore) -> None:
    augmentation = PairedAugmentation(("ct", "pet"), (6, 6, 6), store.spacing)
    with pytest.raises(SettingsError, match=r"same sides, found \(6, 6, 6\) for \(8, 10, 12\)"):
        patch_set(store, store.ids, PATCH, 4, 0, augmentation=augmentation)
