"""A point decides voxels and components as formulas written slowly do."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from hilum.core.errors import SettingsError
from hilum.core.geometry import Grid
from hilum.core.settings import validate
from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.operating.apply import clean, decide, pet_of, tempered
from hilum.segmenter.operating.point import (
    ARGMAX,
    OperatingPoint,
    asked_point,
    at_threshold,
    middle,
)

GRID = Grid.from_spacing((12, 14, 16), (2.0, 2.0, 2.5))
"""Voxels of 0.01 ml."""


def point(**values: object) -> OperatingPoint:
    return validate(OperatingPoint, values)


def probabilities(classes: int, seed: int = 0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, 2, (classes, 5, 6, 7))
    found = np.exp(logits) / np.exp(logits).sum(0)
    return found.astype(np.float32)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_default_is_the_most_probable_class(classes: int) -> None:
    p = probabilities(classes)
    assert_array_equal(decide(p[1:], ARGMAX, p[0]), p.argmax(0))
    # Without the background's map it has what is left of 1.
    assert (decide(p[1:], ARGMAX) == p.argmax(0)).mean() > 0.999
    assert ARGMAX.is_default
    assert ARGMAX.words() == "most probable class"


def test_thresholds_decide_class_by_class() -> None:
    p, limits = probabilities(3), (0.2, 0.6)
    found = decide(p[1:], point(thresholds=limits), p[0])
    for index in np.ndindex(*p.shape[1:]):
        factors = [p[(c + 1, *index)] / limits[c] for c in range(2)]
        best = int(np.argmax(factors))
        assert found[index] == (best + 1 if factors[best] > 1 else 0)
    assert_array_equal(decide(p[1:2], point(thresholds=(0.3,))), p[1] > np.float32(0.3))


def test_a_temperature_is_that_of_the_logits() -> None:
    p = probabilities(3)
    slow = np.exp(np.log(p.astype(float)) / 2.5)
    assert_allclose(tempered(p, 2.5), slow / slow.sum(0), rtol=1e-5)
    assert tempered(p, 1.0) is p


def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Return a mask of four parts of 64, 27, 8 and 8 voxels, and a PET hot in the last alone."""
    mask = np.zeros(GRID.shape, np.uint8)
    mask[1:5, 1:5, 1:5] = 1
    mask[1:4, 8:11, 1:4] = 1
    mask[7:9, 1:3, 8:10] = 1
    mask[7:9, 8:10, 8:10] = 2
    pet = np.ones(GRID.shape, np.float32)
    pet[8, 9, 9] = 5
    return mask, pet


def test_what_is_too_small_goes_and_a_volume_of_exactly_the_least_stays() -> None:
    mask, _ = blobs()
    found = mask.copy()
    assert clean(found, GRID, point(min_volume_ml=0.27)) == 2
    assert_array_equal(found > 0, (mask == 1) & (np.arange(12)[:, None, None] < 6))
    kept = mask.copy()
    assert clean(kept, GRID, point(min_volume_ml=0.08)) == 0
    assert_array_equal(kept, mask)


def test_what_is_too_large_goes_and_a_volume_of_exactly_the_largest_stays() -> None:
    mask, pet = blobs()
    found = mask.copy()
    assert clean(found, GRID, point(max_volume_ml=0.27)) == 1
    left = mask.copy()
    left[1:5, 1:5, 1:5] = 0
    assert_array_equal(found, left)
    # Heat saves what is small, and nothing that is large; the largest number is of what is left.
    both = point(min_volume_ml=0.1, max_volume_ml=0.5, suv_floor=4, at_most=1)
    assert clean(mask, GRID, both, (pet, GRID)) == 2
    assert np.count_nonzero(mask == 1) == 27
    assert np.count_nonzero(mask == 2) == 8


def test_a_component_goes_only_if_it_is_small_and_cold() -> None:
    mask, pet = blobs()
    rule = point(min_volume_ml=0.1, suv_floor=4)
    found = mask.copy()
    assert clean(found, GRID, rule, (pet, GRID)) == 1
    assert not found[7:9, 1:3, 8:10].any()
    assert (found[7:9, 8:10, 8:10] == 2).all()
    # Nobody knows how hot it is without a PET, or outside of it.
    unknown = mask.copy()
    assert clean(unknown, GRID, rule) == 0
    far = Grid.from_spacing((4, 4, 4), (2.0, 2.0, 2.5)).crop((500, 500, 500), (4, 4, 4))
    assert clean(unknown, GRID, rule, (pet[:4, :4, :4], far)) == 0
    # A PET of other voxels is looked at where it lies.
    fine = Grid((24, 28, 32), GRID.affine @ np.diag([0.5, 0.5, 0.5, 1]))
    hot = np.kron(pet, np.ones((2, 2, 2), np.float32))
    again = mask.copy()
    assert clean(again, GRID, rule, (hot, fine)) == 1


def test_the_largest_of_each_class_are_kept() -> None:
    mask, _ = blobs()
    found = mask.copy()
    assert clean(found, GRID, point(at_most=1)) == 2
    assert np.count_nonzero(found == 1) == 64
    assert np.count_nonzero(found == 2) == 8


def test_holes_are_filled_as_scipy_does_but_not_with_another_class() -> None:
    mask = np.zeros(GRID.shape, np.uint8)
    mask[2:9, 2:9, 2:9] = 1
    mask[4:7, 4:7, 4:7] = 0
    mask[5, 5, 5] = 2
    found = mask.copy()
    clean(found, GRID, point(fill_holes=True))
    filled = ndimage.binary_fill_holes(mask == 1)
    assert_array_equal(found, np.where(mask == 2, 2, filled))


def test_only_the_modalities_in_use_have_uptake(store: CaseStore) -> None:
    case = store["case_0"]
    assert pet_of(case, ("ct",)) is None
    for names in (("ct", "pet"), None):
        found = pet_of(case, names)
        assert found is not None
        assert_array_equal(found[0], case.images[case.modalities.index("pet")])


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_threshold_is_a_probability(value: float) -> None:
    with pytest.raises(SettingsError, match="between 0 and 1"):
        point(thresholds=(value,))
    with pytest.raises(SettingsError, match="between 0 and 1"):
        at_threshold(ARGMAX, value, 2)


def test_points_that_mean_nothing_are_refused() -> None:
    with pytest.raises(SettingsError, match="needs min_volume_ml"):
        point(suv_floor=4)
    with pytest.raises(SettingsError, match="nothing would be kept"):
        point(min_volume_ml=2, max_volume_ml=1)
    with pytest.raises(SettingsError, match="format"):
        point(format=2)
    with pytest.raises(SettingsError, match="cannot go together"):
        asked_point(ARGMAX, 2, 0.3, raw=True)


def test_what_is_asked_for_wins() -> None:
    own = point(thresholds=(0.2, 0.3), min_volume_ml=0.5)
    assert asked_point(own, 3, None, raw=False) == own
    assert asked_point(own, 3, None, raw=True) == ARGMAX
    changed = asked_point(own, 3, 0.4, raw=False)
    assert changed.thresholds == (0.4, 0.4)
    assert changed.min_volume_ml == 0.5


def test_the_point_of_an_ensemble_is_the_middle() -> None:
    points = [point(thresholds=(t,), min_volume_ml=v) for t, v in ((0.2, 0), (0.4, 1), (0.3, 2))]
    found = middle(points)
    assert found.thresholds == (0.3,)
    assert found.min_volume_ml == 1
    assert middle([ARGMAX, ARGMAX]) == ARGMAX
    large = [point(max_volume_ml=v) for v in (10, 30, 20)]
    assert middle(large).max_volume_ml == 20
    assert middle([large[0], ARGMAX, ARGMAX]).max_volume_ml is None
    assert "above 20 ml dropped" in middle(large).words()
    assert middle([ARGMAX, point(thresholds=(0.3,))]).thresholds == (0.4,)
