"""Calibration equals a slow formula and counts voxels near the foreground only."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hilum.core.geometry import Grid
from hilum.evaluation.metrics.calibration import near_foreground, reliability

GRID = Grid.from_spacing((9, 12, 15), (4.0, 2.0, 1.0))


def test_ece_and_brier_by_a_slow_formula() -> None:
    generator = np.random.default_rng(0)
    p, t = generator.random(500), generator.random(500) < 0.4
    ece = 0.0
    for low in range(10):
        own = [(a, b) for a, b in zip(p, t, strict=True) if low / 10 <= a < (low + 1) / 10]
        gap = sum(a for a, _ in own) / len(own) - sum(b for _, b in own) / len(own)
        ece += abs(gap) * len(own) / 500
    got = reliability(p, t)
    assert got.ece == pytest.approx(ece)
    assert got.brier == pytest.approx(float(np.mean((p - t) ** 2)))
    assert got.count.sum() == 500


def test_certainty_that_is_right_has_no_error() -> None:
    got = reliability(np.array([0.0, 1.0, 1.0]), np.array([False, True, True]))
    assert (got.ece, got.brier) == (0, 0)
    assert math.isnan(reliability(np.zeros(0), np.zeros(0, bool)).ece)


def test_the_margin_by_a_slow_formula() -> None:
    p, g = np.zeros(GRID.shape, bool), np.zeros(GRID.shape, bool)
    p[4, 5, 6], g[1, 10, 13] = True, True
    every = np.indices(GRID.shape).reshape(3, -1).T
    either = np.argwhere(p | g)
    gaps = np.linalg.norm((every[:, None] - either[None]) * GRID.spacing, axis=-1)
    expected = (gaps.min(1) <= 6).reshape(GRID.shape)
    assert (near_foreground(p, g, GRID, 6.0) == expected).all()
    assert not near_foreground(p & g, p & g, GRID).any()
