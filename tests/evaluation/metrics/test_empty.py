"""What a metric is where a mask is empty is said once, and holds for every metric."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hilum.core.geometry import Grid
from hilum.core.settings import validate
from hilum.evaluation.metrics.case import case_metrics
from hilum.evaluation.metrics.empty import EMPTY_RULES, rule_of, state_of, undefined
from hilum.evaluation.metrics.table import METRICS
from hilum.evaluation.settings import EvaluationSettings

GRID = Grid.from_spacing((4, 6, 8), (3.0, 2.0, 2.0))
DIAGONAL = math.dist((0, 0, 0), GRID.extent_mm)


def masks() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return prediction and reference of each state."""
    nothing, node = np.zeros((2, *GRID.shape), np.uint8)
    node[1:3, 1:4, 1:5] = 1
    unknown = np.full_like(nothing, 255)
    partly = nothing.copy()
    partly[3] = 255
    return {
        "both": (nothing, nothing),
        "reference": (node, nothing),
        "prediction": (nothing, node),
        "wholly unknown": (node, unknown),
        "unknown where nothing is marked": (nothing, partly),
    }


@pytest.mark.parametrize("state", ["both", "reference", "prediction"])
def test_every_metric_is_what_its_rule_says(state: str) -> None:
    pet = {"pet": np.full(GRID.shape, 2.0)}
    numbers = case_metrics(*masks()[state], GRID, pet)
    checked = 0
    for name, value in numbers.items():
        rule = rule_of(name)
        if rule is None:
            continue
        wanted = getattr(rule, state)
        checked += 1
        if wanted == "measured":
            assert math.isfinite(value), name
        else:
            number = {"diagonal": DIAGONAL, "choice": 1.0}.get(str(wanted), wanted)
            assert value == pytest.approx(number, nan_ok=True), name
    assert checked >= 20


def test_by_hand() -> None:
    found = {state: case_metrics(*pair, GRID) for state, pair in masks().items()}
    assert found["both"]["dice"] == 1
    assert math.isnan(found["both"]["hd95_mm"])
    assert found["reference"]["dice"] == found["prediction"]["nsd_2mm"] == 0
    assert found["reference"]["hd95_mm"] == pytest.approx(DIAGONAL)
    assert found["reference"]["false_positives"] == 1
    assert found["reference"]["volume_error_ml"] == pytest.approx(24 * 0.012)
    assert found["prediction"]["lesion_sensitivity"] == 0
    assert math.isnan(found["reference"]["lesion_sensitivity"])


@pytest.mark.parametrize("state", ["wholly unknown", "unknown where nothing is marked"])
def test_where_nothing_is_known_nothing_is_perfect(state: str) -> None:
    numbers = case_metrics(*masks()[state], GRID, {"pet": np.ones(GRID.shape)})
    ruled = [value for name, value in numbers.items() if rule_of(name) is not None]
    assert ruled
    assert all(math.isnan(value) for value in ruled)
    assert undefined({"a": numbers, "b": numbers})["dice"] == 2


def test_a_made_up_node_beside_unknown_voxels_is_wrong_all_the_same() -> None:
    _, partly = masks()["unknown where nothing is marked"]
    node, _ = masks()["reference"]
    assert case_metrics(node, partly, GRID)["dice"] == 0


def test_two_empty_masks_may_be_undefined() -> None:
    numbers = case_metrics(
        *masks()["both"], GRID, settings=validate(EvaluationSettings, {"both_empty": "nan"})
    )
    assert math.isnan(numbers["dice"])
    assert math.isnan(numbers["nsd_2mm"])
    assert numbers["false_positives"] == 0


def test_every_metric_of_a_case_has_a_rule_and_says_it() -> None:
    for name, metric in METRICS.items():
        if metric.pooled or name.startswith(("sensitivity_", "rater_")):
            continue
        assert metric.empty == str(rule_of(name)), name
    assert "both empty: 1 or undefined, as chosen" in METRICS["dice"].empty
    assert set(EMPTY_RULES) >= {"dice", "nsd", "lesion_nsd"}


def test_states() -> None:
    assert state_of(True, True, True) == "both there"
    assert state_of(False, False, False) == "both empty"
    assert state_of(False, False, True) == "nothing known"
