"""Measures of shapes against the formulas of bodies that have one."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.core.geometry import Grid
from hilum.datasets.phantoms.shape_statistics import REAL, measure, percentiles

GRID = Grid.from_spacing((50, 60, 70), (1.0, 0.8, 0.7))


def offsets() -> tuple[np.ndarray, ...]:
    z, y, x = np.ogrid[:50, :60, :70]
    return (z - 25) * 1.0, (y - 30) * 0.8, (x - 35) * 0.7


def test_an_ellipsoid_is_as_long_and_as_solid_as_its_formula() -> None:
    z, y, x = offsets()
    row = measure((z / 20) ** 2 + (y / 8) ** 2 + (x / 10) ** 2 < 1, GRID)
    assert row is not None
    assert row.elongation == pytest.approx(2.5, rel=0.02)
    assert row.solidity == pytest.approx(1, abs=0.01)
    assert row.volume_ml == pytest.approx(4 / 3 * np.pi * 1.6, rel=0.02)
    assert row.short_axis_mm == pytest.approx(16, abs=1)


def test_a_box_and_two_balls_are_less_solid() -> None:
    """By their second moments, worked out by hand."""
    z, y, x = offsets()
    box = measure((abs(z) < 10.5) & (abs(y) < 10.4) & (abs(x) < 10.15), GRID)
    assert box is not None
    # Sides a: moments a**2 / 12, half axes a * sqrt(5 / 12).
    assert box.solidity == pytest.approx(1 / (4 / 3 * np.pi * (5 / 12) ** 1.5), rel=0.02)
    two = measure(((abs(z) - 10) ** 2 + y**2 + x**2) < 100, GRID)
    assert two is not None
    # Moments of two touching balls of radius 1: 1 / 5 across, 1 / 5 + 1 along.
    assert two.elongation == pytest.approx(np.sqrt(6), rel=0.03)
    assert two.solidity == pytest.approx(2 / np.sqrt(6), rel=0.03)


def test_a_crumb_has_no_shape_and_percentiles_are_per_measure() -> None:
    mask = np.zeros(GRID.shape, bool)
    mask[3, 3, 3:9] = True
    assert measure(mask, GRID) is None
    z, y, x = offsets()
    rows = [measure(z**2 + y**2 + x**2 < r**2, GRID) for r in (6, 8, 10)]
    found = percentiles([row for row in rows if row])
    assert set(found) == set(REAL)
    assert found["volume_ml"][1] == pytest.approx(rows[1].volume_ml if rows[1] else 0)
