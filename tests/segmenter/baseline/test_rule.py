"""Baselines against a slow reference, voxel by voxel and component by component."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hilum.core.errors import DataError, SettingsError
from hilum.core.geometry import Grid, IntTriple
from hilum.core.settings import validate
from hilum.core.types import IGNORE
from hilum.datasets.store.case_store import CaseStore, PreparedCase
from hilum.segmenter.baseline.choose import choose_rule, dice_table
from hilum.segmenter.baseline.rule import BaselineSettings, baseline_mask, baseline_scores

SIDES: IntTriple = (7, 9, 8)


def rule(**values: Any) -> BaselineSettings:
    return validate(BaselineSettings, {"limit": 2.5} | values)


def case(seed: int, modalities: tuple[str, ...] = ("ct", "pet")) -> PreparedCase:
    generator = np.random.default_rng(seed)
    pet = generator.gamma(1.2, 1.5, SIDES)
    ct = generator.uniform(-160, 240, SIDES)
    label = (pet + generator.normal(0, 1, SIDES) > 4).astype(np.uint8)
    label[0] = IGNORE
    images = np.stack([{"ct": ct, "pet": pet}[m] for m in modalities]).astype(np.float16)
    grid = Grid.from_spacing(SIDES, (4, 5, 10))
    regions = np.full(SIDES, 7, np.uint8)
    return PreparedCase("a", "a", "", "", images, modalities, regions, label, grid, grid, {}, {})


def slow(one: PreparedCase, asked: BaselineSettings) -> np.ndarray:
    """Grow every component by hand."""
    pet = one.images[one.modalities.index("pet")].astype(np.float32)
    ct = one.images[one.modalities.index("ct")] if "ct" in one.modalities else None
    inside = set()
    for place in np.ndindex(*SIDES):
        soft = asked.soft_tissue is None or ct is None
        soft = soft or asked.soft_tissue[0] <= ct[place] <= asked.soft_tissue[1]  # pyright: ignore
        if pet[place] > asked.limit and soft:
            inside.add(place)

    def grown(left: set[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
        parts, left = [], set(left)
        while left:
            part, todo = [], [left.pop()]
            while todo:
                here = todo.pop()
                part.append(here)
                near = [
                    p for p in left if max(abs(a - b) for a, b in zip(p, here, strict=True)) < 2
                ]
                left.difference_update(near)
                todo += near
            parts.append(part)
        return parts

    kept = set()
    for part in grown(inside):
        top = max(pet[p] for p in part)
        if top >= asked.suv_max:
            kept |= {p for p in part if pet[p] >= asked.relative * top}
    assert not isinstance(asked.min_volume_ml, str)
    most = 1e9 if asked.max_volume_ml is None else asked.max_volume_ml
    parts = [p for p in grown(kept) if asked.min_volume_ml - 1e-9 <= len(p) * 0.2 <= most + 1e-9]
    parts.sort(key=lambda p: (-len(p), min(p)))
    mask = np.zeros(SIDES, np.uint8)
    for part in parts[: asked.at_most]:
        for place in part:
            mask[place] = asked.value
    return mask


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"limit": 4},
        {"relative": 0.41},
        {"relative": 0.9, "min_volume_ml": 0.4},
        {"min_volume_ml": 0.6},
        {"soft_tissue": (-60, 120)},
        {"soft_tissue": (-60, 120), "relative": 0.41, "min_volume_ml": 0.4, "value": 2},
        {"limit": 99.0},
        {"limit": 3.5, "suv_max": 5.0},
        {"limit": 3.5, "suv_max": 5.0, "relative": 0.7, "min_volume_ml": 0.4},
        {"limit": 3.5, "suv_max": 3.0},
        {"limit": 4, "max_volume_ml": 0.6},
        {"limit": 4, "max_volume_ml": 0.8, "min_volume_ml": 0.4, "suv_max": 4.5},
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_mask_is_that_of_the_slow_rule(values: dict[str, Any], seed: int) -> None:
    one, asked = case(seed), rule(**values)
    np.testing.assert_array_equal(baseline_mask(one, asked), slow(one, asked))


def test_what_is_too_large_is_no_largest_component() -> None:
    one, asked = case(3), rule(limit=4, max_volume_ml=0.6, at_most=1)
    every = slow(one, rule(limit=4, max_volume_ml=0.6))
    found = baseline_mask(one, asked)
    assert 0 < found.sum() == slow(one, asked).sum() < every.sum()
    assert (every[found > 0] > 0).all()


def test_labelled_patients_do_not_choose_by_what_is_too_large(store: CaseStore) -> None:
    """Of components of 3, 2 and 1 voxels, the first is too large and one alone is kept."""
    one = CaseStore(store.path)["case_1"]
    pet = np.zeros((2, *one.grid.shape), np.float32)
    for place, length in enumerate((3, 2, 1)):
        pet[one.modalities.index("pet"), 4 * place + 1, 3, 3 : 3 + length] = 5
    label = np.zeros(one.grid.shape, np.uint8)
    label[5, 3, 3:5] = label[9, 3, 3] = 1
    one.images, one.label = pet, label
    most = 2 * one.grid.voxel_ml
    asked = rule(max_volume_ml=most, at_most=1)
    assert baseline_mask(one, asked).sum() == 2
    table = dice_table(one, asked, [2.5], [0.0])
    assert table is not None
    assert table[0, 0] == pytest.approx(2 * 2 / (2 + 3))


def test_the_largest_component_alone() -> None:
    one, asked = case(3), rule(at_most=1, limit=3.5)
    found, every = baseline_mask(one, asked), slow(one, rule(limit=3.5))
    assert found.sum() == slow(one, asked).sum() < every.sum()
    assert (every[found > 0] > 0).all()


def test_without_ct_or_where_it_may_not_be_used_uptake_counts_everywhere() -> None:
    one, asked = case(0), rule(soft_tissue=(-60, 120))
    np.testing.assert_array_equal(baseline_mask(one, asked, use_ct=False), slow(one, rule()))
    alone = case(0, ("pet",))
    np.testing.assert_array_equal(baseline_mask(alone, asked), slow(alone, rule()))
    assert not baseline_mask(case(0, ("ct",)), asked).any()


def test_scores_rank_by_uptake_and_meet_the_limit_at_one_half() -> None:
    one = case(1)
    scores = baseline_scores(one, rule(value=2), 3)
    np.testing.assert_allclose(scores.sum(0), 1, atol=1e-6)
    assert not scores[1].any()
    pet = one.images[1].astype(np.float32)
    np.testing.assert_array_equal(scores[2] > 0.5, pet > 2.5)
    order = np.argsort(pet.ravel(), kind="stable")
    assert (np.diff(scores[2].ravel()[order]) >= 0).all()


def test_dice_of_every_candidate_is_that_of_its_mask(store: CaseStore) -> None:
    limits, volumes = [1.2, 4.0, 30.0], [0.0, 1.0, 1e3]
    for values in (
        {},
        {"relative": 0.6},
        {"soft_tissue": (-40, 70)},
        {"suv_max": 6.0},
        {"max_volume_ml": 50.0},
    ):
        table = dice_table(store["case_1"], rule(**values), limits, volumes)
        assert table is not None
        label = np.asarray(store["case_1"].label)
        for row, limit in enumerate(limits):
            for column, volume in enumerate(volumes):
                if "max_volume_ml" in values and volume > 50:
                    continue
                asked = rule(**values, limit=limit, min_volume_ml=volume)
                mask = baseline_mask(store["case_1"], asked)
                both = 2 * int(((mask > 0) & (label == 1)).sum())
                assert table[row, column] == pytest.approx(
                    both / int((mask > 0).sum() + (label == 1).sum())
                )


def test_labelled_patients_choose_what_is_auto_and_nothing_else(store: CaseStore) -> None:
    cases = ["case_0", "case_1", "case_5"]
    found = choose_rule(store, cases, rule(limit="auto", min_volume_ml="auto"))
    assert found.patients == 2, "one has no PET"
    assert 1.2 < float(found.rule.limit) < 8
    assert found.dice > 0.95
    fixed = choose_rule(store, cases, rule(min_volume_ml="auto"))
    assert fixed.rule.limit == 2.5
    with pytest.raises(DataError, match="labelled cases with a PET"):
        choose_rule(store, ["case_5"], rule(limit="auto"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"limit": 0}, "above 0"),
        ({"relative": 1.0}, "relative"),
        ({"min_volume_ml": -1}, "negative"),
        ({"at_most": 0}, "at_most"),
        ({"max_volume_ml": 2, "min_volume_ml": 3}, "above min_volume_ml"),
        ({"suv_max": -1}, "suv_max"),
        ({"soft_tissue": (5, 5)}, "must rise"),
        ({"limit": "most"}, "limit"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        rule(**values)
