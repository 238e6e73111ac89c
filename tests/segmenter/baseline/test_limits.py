"""The limit of uptake that labelled patients choose, against a slow count."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.core.errors import DataError
from hilum.core.types import IGNORE
from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.baseline.limits import LIMITS, best_limit, dice_at_limits


def slow(store: CaseStore, name: str, limit: float, between: tuple[float, float] | None) -> float:
    case = store[name]
    ct, pet, label = np.asarray(case.images[0]), np.asarray(case.images[1]), np.asarray(case.label)
    ours = truth = both = 0
    for c, p, voxel in zip(ct.ravel(), pet.ravel(), label.ravel(), strict=True):
        if voxel == IGNORE:
            continue
        hot = np.float32(p) > np.float32(limit)
        hot = hot and (between is None or between[0] <= c <= between[1])
        ours, truth, both = ours + hot, truth + (voxel > 0), both + (hot and voxel > 0)
    return 2 * both / (ours + truth) if ours + truth else float("nan")


@pytest.mark.parametrize("between", [None, (-50.0, 90.0)])
def test_dice_at_a_limit_is_that_of_counted_voxels(
    between: tuple[float, float] | None, store: CaseStore
) -> None:
    limits = [0.9, 2.0, 7.9, 30.0]
    found = dice_at_limits(store["case_0"], limits, (), between)
    wanted = [slow(store, "case_0", limit, between) for limit in limits]
    assert found is not None
    np.testing.assert_allclose(found, wanted)


def test_the_middle_of_the_best_limits_is_chosen(store: CaseStore) -> None:
    cases = ["case_0", "case_1"]
    tables = np.array([[slow(store, name, limit, None) for limit in LIMITS] for name in cases])
    mean = np.nan_to_num(tables, nan=1.0).mean(0)
    limit, dice, patients = best_limit(store, cases)
    assert (patients, dice) == (2, pytest.approx(mean.max()))
    best = LIMITS[mean == mean.max()]
    assert best.min() <= limit <= best.max()
    assert 1.5 < limit < 8, "between background and node"


def test_without_pet_nothing_can_be_chosen(store: CaseStore) -> None:
    assert dice_at_limits(store["case_5"]) is None
    with pytest.raises(DataError, match="a PET"):
        best_limit(store, ["case_5"])
