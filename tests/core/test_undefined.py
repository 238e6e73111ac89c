"""A reader sees a number or a dash, and never `nan`, `inf` or an interval of nothing."""

from __future__ import annotations

import math

import pytest

from hilum.core.undefined import DASH, number, with_interval


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_dash(value: float) -> None:
    assert number(value) == with_interval(value, 0.1, 0.2) == DASH


def test_an_interval_is_shown_as_far_as_there_is_one() -> None:
    assert with_interval(0.5, math.nan, 0.6) == "0.500"
    assert with_interval(0.5, 0.25, 0.75, "+.2f") == "+0.50 [+0.25, +0.75]"
