"""Curves with intervals lie where their numbers say, none labelled included."""

from __future__ import annotations

import math
import re

import pytest

from hilum.evaluation.charts.svg import intervals


@pytest.mark.parametrize(("xs", "more"), [((1, 2, 8), 0), ((0, 1, 7), 1)])
def test_numbers_lie_over_their_logarithm(xs: tuple[int, ...], more: int) -> None:
    """Of one more if one of them is 0, whose logarithm is none."""
    drawn = str(intervals([("a", [(x, 0.1, 0.0, 0.2) for x in xs])], "labels", "Dice"))
    across = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', drawn)]
    first, middle, last = across
    wanted = math.log((xs[1] + more) / (xs[0] + more)) / math.log((xs[2] + more) / (xs[0] + more))
    assert (middle - first) / (last - first) == pytest.approx(wanted, abs=1e-3)
