"""Arms line up by patient and run, whatever the order they come in."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hilum.evaluation.statistics.runs import align, models

A = {"q": {(1, 0): 4.0, (0, 0): 3.0}, "p": {(0, 0): 1.0, (1, 0): 2.0, (1, 9): 7.0}}
B = {"p": {(1, 0): 20.0, (0, 0): 10.0}, "r": {(0, 0): 5.0}}


def test_common_patients_and_runs_are_kept() -> None:
    found = align([A, B])
    assert (found.patients, found.runs) == (("p",), ((0, 0), (1, 0)))
    assert found.cube.tolist() == [[[1, 2]], [[10, 20]]]
    assert (found.draws, found.n_draws, found.n_seeds) == ([0, 1], 2, 1)


def test_or_all_with_holes() -> None:
    found = align([A, B], common=False)
    assert found.patients == ("p", "q", "r")
    assert found.runs == ((0, 0), (1, 0), (1, 9))
    assert found.cube[0, 0].tolist() == [1, 2, 7]
    assert math.isnan(found.cube[1, 1, 0])
    assert found.cube[1, 2, 0] == 5


def test_numbers_are_in_order_and_names_come_last() -> None:
    arm = {"p": {10: 1.0, 9: 2.0, ("late", 1): 3.0, (2, "x"): 4.0}}
    assert align([arm]).runs == (9, 10, (2, "x"), ("late", 1))


def test_models_are_draws_if_there_are_several_and_runs_if_not() -> None:
    table = np.array([[1.0, 3.0, 10.0], [2.0, np.nan, 20.0]])
    assert models(table, [0, 0, 1]).tolist() == [[2, 10], [2, 20]]
    assert models(table, [0, 0, 0]) is table


def test_no_arms() -> None:
    assert align([]).cube.shape == (0, 0, 0)


@pytest.mark.parametrize("common", [True, False])
def test_arms_without_a_common_patient(common: bool) -> None:
    found = align([{"p": {0: 1.0}}, {"q": {0: 1.0}}], common=common)
    assert len(found.patients) == (0 if common else 2)
