"""The charts of an evaluation's page lie where their numbers say."""

from __future__ import annotations

import math
import re

import pytest

from hilum.evaluation.charts.svg import scatter


def test_points_and_levels_share_one_scale() -> None:
    drawn = scatter(
        [(1.0, -2.0), (3.0, 4.0), (math.nan, 9.0)], [("bias", 1.0), ("none", math.nan)], "x", "y"
    )
    places = [
        (float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawn)
    ]
    assert len(places) == 2
    (left, low), (right, high) = places
    assert left < right
    assert high < low, "up is more"
    (level,) = re.findall(r'class="mark" x1="[\d.]+" y1="([\d.]+)"', drawn)
    assert float(level) == pytest.approx((low + high) / 2, abs=0.11), "1 lies between -2 and 4"
    assert ">bias<" in drawn
    assert ">none<" not in drawn


def test_nothing_to_draw_is_nothing() -> None:
    assert scatter([(math.nan, 1.0)], [], "x", "y") == ""
