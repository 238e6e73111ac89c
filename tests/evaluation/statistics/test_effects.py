"""Effects of a made grid are those that it was made with, holes or not."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.evaluation.statistics.effects import interactions, main_effects

FACTORS, REFERENCE = ("pretext", "fusion"), ("none", "early")
GAINS = {"none": 0.0, "mae": 0.05, "early": 0.0, "late": -0.02, "gated": 0.01}


def grid(extra: float = 0.0) -> dict[tuple[str, ...], np.ndarray]:
    base = np.random.default_rng(0).normal(0.6, 0.1, (10, 3))
    return {
        (p, f): base + GAINS[p] + GAINS[f] + extra * (p == "mae" and f == "gated")
        for p in ("none", "mae")
        for f in ("early", "late", "gated")
    }


def test_main_effects_are_what_the_levels_add() -> None:
    found = {e.name: e for e in main_effects(grid(), FACTORS, REFERENCE)}
    assert {name: pytest.approx(e.estimate.mean) for name, e in found.items()} == {
        "pretext: mae": 0.05,
        "fusion: late": -0.02,
        "fusion: gated": 0.01,
    }
    assert (found["pretext: mae"].cells, found["fusion: late"].cells) == (3, 2)


def test_a_hole_in_the_grid_mixes_nothing() -> None:
    holed = {key: table for key, table in grid().items() if key != ("mae", "late")}
    found = {e.name: e for e in main_effects(holed, FACTORS, REFERENCE)}
    assert found["pretext: mae"].estimate.mean == pytest.approx(0.05)
    assert found["pretext: mae"].cells == 2
    names = [e.name for e in interactions(holed, FACTORS, REFERENCE)]
    assert names == ["pretext: mae x fusion: gated"]


def test_an_interaction_is_what_the_pair_adds_beyond_both() -> None:
    found = {e.name: e.estimate.mean for e in interactions(grid(0.03), FACTORS, REFERENCE)}
    assert found["pretext: mae x fusion: gated"] == pytest.approx(0.03)
    assert found["pretext: mae x fusion: late"] == pytest.approx(0, abs=1e-12)
