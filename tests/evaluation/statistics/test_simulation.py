"""On simulated studies whose truth is known, what reports say errs as often as it should."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.core.seeds import numpy_generator
from hilum.evaluation.statistics.moderation import study_variances
from hilum.evaluation.statistics.random_effects import estimate
from hilum.evaluation.statistics.simulation import (
    METHODS,
    Kind,
    SimulatedMetric,
    World,
    errors,
    judge,
)

STUDIES = 250


@pytest.mark.parametrize("metric", ["dice", "dscagg", "f1agg"])
def test_many_studies_at_once_are_judged_as_one_by_one(metric: SimulatedMetric) -> None:
    world = World("collapses", 7, 3, arms=5, metric=metric, gain=0.1)
    values = world.make(4, numpy_generator(0, "test"))
    found = judge(values)
    for number, study in enumerate(values):
        shared = study_variances(study)
        for arm in range(4):
            table = study[arm + 1] - study[0]
            for name, variances in (("alone", None), ("moderated", shared)):
                want = estimate(table, variances)
                got = [float(part[number, arm]) for part in found[name]]
                assert got == pytest.approx([want.mean, want.error, want.freedom])


@pytest.mark.parametrize("kind", ["normal", "collapses", "log-normal patients", "seeds only"])
@pytest.mark.parametrize("seeds", [2, 3])
def test_five_per_cent_are_about_five_per_cent(kind: Kind, seeds: int) -> None:
    """750 comparisons, three of each study: beyond 1.5 or 9 % in one of a thousand such tests."""
    found = errors(World(kind, 12, seeds, gain=0.05), STUDIES)["moderated"]
    assert 0.015 <= found.false_alarms <= 0.09
    assert 0.91 <= found.coverage <= 0.985
    assert found.false_equalities <= 0.08


def test_two_seeds_gain_most_from_the_study() -> None:
    found = errors(World("seeds only", 8, 2, arms=6, gain=0.1), STUDIES)
    assert found["moderated"].half_width < 0.5 * found["alone"].half_width
    assert found["moderated"].power > 2 * found["alone"].power


def test_averaging_the_runs_finds_what_is_not_there() -> None:
    found = errors(World("seeds only", 24, 3, gain=0.05), STUDIES)
    assert found["runs averaged"].false_alarms > 0.5
    assert tuple(found) == METHODS


def test_no_method_sees_what_a_study_did_not_vary() -> None:
    found = errors(World("other draws", 24, 5, gain=0.05), STUDIES)
    assert found["moderated"].false_alarms > 0.15


@pytest.mark.parametrize("metric", ["dice", "dscagg", "f1agg"])
def test_the_truth_is_that_of_equal_arms_and_of_the_gain(metric: SimulatedMetric) -> None:
    assert World("normal", 8, 3, metric=metric).truth() == pytest.approx(0, abs=0.005)
    gained = World("normal", 8, 3, metric=metric, gain=0.1).truth()
    assert gained == pytest.approx(0.1, abs=0.01 if metric == "dice" else 0.05)
    assert gained > 0.04


def test_arms_a_margin_apart_are_rarely_called_equivalent_and_equal_ones_often() -> None:
    found = errors(World("normal", 24, 5, gain=0.05), STUDIES, apart=0.15)["moderated"]
    assert found.false_equalities <= 0.08
    assert found.equalities > 0.9


def test_one_seed_of_an_arm_is_not_another_worlds() -> None:
    one, two = (World("normal", 6, 2).make(1, numpy_generator(s, "w")) for s in (0, 1))
    assert not np.allclose(one, two)
