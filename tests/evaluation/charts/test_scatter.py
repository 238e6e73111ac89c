"""Points stand where their numbers are, and only those that nothing beats are named."""

from __future__ import annotations

import re

import pytest

from hilum.evaluation.charts.scatter import FEW, scatter

NAN = float("nan")


def numbers(svg: str) -> list[str]:
    return re.findall(r'text-anchor="start">(\d+)<', svg)


def test_few_points_are_all_numbered_in_the_order_of_the_table() -> None:
    svg = scatter([("a", 10, 0.5, 0.4, 0.6), ("b", 20, 0.7, NAN, NAN)], "s", "Dice")
    assert numbers(svg) == ["1", "2"]
    assert svg.count("<circle") == 2
    assert svg.count("opacity") == 2, "one grid rule, one interval"


@pytest.mark.parametrize(("better", "front"), [(True, ["1", "3"]), (False, ["1", "2"])])
def test_of_many_points_only_those_that_nothing_beats(better: bool, front: list[str]) -> None:
    spots = [("cheap", 10.0, 0.5, NAN, NAN), ("low", 20.0, 0.3, NAN, NAN)]
    spots += [("high", 30.0, 0.9, NAN, NAN)]
    spots += [("between", 40.0 + i, 0.6, NAN, NAN) for i in range(FEW)]
    assert numbers(scatter(spots, "s", "y", higher_is_better=better)) == front


def test_the_axis_is_logarithmic() -> None:
    svg = scatter([(str(x), x, 0.5, NAN, NAN) for x in (1, 10, 100)], "s", "y")
    places = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', svg)]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.2)


def test_points_without_a_cost_are_left_out() -> None:
    assert scatter([("a", NAN, 0.5, 0.4, 0.6)], "s", "y") == ""
    assert scatter([], "s", "y") == ""
