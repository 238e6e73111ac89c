"""Node status and burden by hand: what makes a patient positive, and what nobody can know."""

from __future__ import annotations

import math

import pytest

from hilum.core.settings import validate
from hilum.evaluation.metrics.node_record import NodeRecord
from hilum.evaluation.metrics.node_status import burden_metrics, criterion, is_positive
from hilum.evaluation.settings import EvaluationSettings


def node(short_mm: float, suv: float | None = None) -> NodeRecord:
    return NodeRecord(1, 1, (0.0, 0.0, 0.0), 1.0, short_mm + 2, short_mm, "", suv_max=suv)


def settings(**values: float) -> EvaluationSettings:
    return validate(EvaluationSettings, values)


@pytest.mark.parametrize(
    ("limits", "short_mm", "suv", "positive"),
    [
        ({}, 1.0, None, True),
        ({"positive_mm": 10}, 9.9, 20.0, False),
        ({"positive_mm": 10}, 10.0, None, True),
        ({"positive_suv": 4}, 30.0, 3.9, False),
        ({"positive_suv": 4}, 2.0, 4.0, True),
        ({"positive_suv": 4}, 30.0, None, False),
        ({"positive_mm": 10, "positive_suv": 4}, 12.0, 1.0, True),
        ({"positive_mm": 10, "positive_suv": 4}, 2.0, 9.0, True),
        ({"positive_mm": 10, "positive_suv": 4}, 9.0, 3.0, False),
    ],
)
def test_a_node_is_positive_from_its_limits_on(
    limits: dict[str, float], short_mm: float, suv: float | None, positive: bool
) -> None:
    assert is_positive(node(short_mm, suv), settings(**limits)) == positive


def test_the_burden_of_both_masks() -> None:
    own = settings(positive_mm=10)
    found = burden_metrics([node(4), node(11)], [node(12), node(7), node(3)], own, unknown=False)
    assert found == {
        "nodes": 2,
        "max_short_axis_mm": 11,
        "node_positive": 1,
        "reference_nodes": 3,
        "reference_max_short_axis_mm": 12,
        "reference_node_positive": 1,
    }


@pytest.mark.parametrize(
    ("reference", "unknown", "status", "count"),
    [
        ([], False, 0.0, 0.0),
        ([], True, math.nan, math.nan),
        ([node(5)], False, 0.0, 1.0),
        ([node(5)], True, math.nan, 1.0),
        ([node(15)], True, 1.0, 1.0),
    ],
)
def test_a_reference_with_unknown_voxels_is_positive_or_nobody_knows(
    reference: list[NodeRecord], unknown: bool, status: float, count: float
) -> None:
    found = burden_metrics([], reference, settings(positive_mm=10), unknown=unknown)
    assert found["reference_node_positive"] == pytest.approx(status, nan_ok=True)
    assert found["reference_nodes"] == pytest.approx(count, nan_ok=True)
    assert math.isnan(found["max_short_axis_mm"])


def test_the_criterion_is_said_with_its_limits() -> None:
    assert criterion(settings()) == "at least one node"
    both = criterion(settings(positive_mm=10, positive_suv=2.5))
    assert "short axis of 10 mm or more or an SUVmax of 2.5" in both
