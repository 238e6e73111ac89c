"""Probabilities become candidates that match lesions by overlap, and say how reliable they are."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.core.geometry import Grid
from hilum.evaluation.metrics.calibration import pooled, reliability
from hilum.evaluation.metrics.instances import Instances
from hilum.evaluation.metrics.scores import CaseScores, candidates_of, score_case, summary

GRID = Grid.from_spacing((4, 6, 40), (4.0, 4.0, 4.0))


def maps() -> tuple[np.ndarray, np.ndarray]:
    """Return a probability and a reference with three lesions: found twice, found, missed."""
    probability, reference = np.zeros(GRID.shape), np.zeros(GRID.shape, np.uint8)
    reference[1, 1, 2:8] = 1
    reference[1, 1, 12:15] = 1
    reference[3, 5, 38] = 1
    probability[1, 1, 2:4], probability[1, 1, 6:8] = 0.9, 0.3
    probability[1, 1, 13] = 0.6
    probability[2, 4, 25:27] = 0.7, 0.05
    probability[0, 5, 0] = 0.09  # too low for a candidate
    return probability, reference


def test_candidates_by_hand() -> None:
    found = score_case("a", *maps(), GRID)
    assert found.lesions == 3
    assert [(one.score, one.lesion) for one in found.candidates] == [
        (0.9, "a/1"), (0.3, "a/1"), (0.6, "a/2"), (0.7, None),
    ]  # fmt: skip


def test_a_candidate_belongs_to_the_lesion_it_covers_most_of() -> None:
    labels = np.ones((1, 1, 12), np.int32)
    lesions = Instances(np.array([[[1, 1, 0, 0, 2, 2, 2, 2, 2, 0, 0, 0]]], np.int32), (1, 1))
    assert [one.lesion for one in candidates_of("a", labels, [0.5], lesions)] == ["a/2"]


def test_froc_of_the_cohort_by_hand() -> None:
    probability, reference = maps()
    empty = score_case("b", probability * 0, reference * 0, GRID)
    found = summary(
        {"a": score_case("a", probability, reference, GRID), "b": empty}, {"a": "a", "b": "b"}
    )
    froc = found["froc"]
    assert isinstance(froc, dict)
    assert froc["thresholds"] == [0.9, 0.7, 0.6, 0.3]
    assert froc["false_positives"] == [0, 0.5, 0.5, 0.5]
    assert froc["sensitivity"] == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3])
    nodes = found["nodes"]
    assert isinstance(nodes, dict)
    assert nodes["brier"] == pytest.approx((0.01 + 0.49 + 0.16 + 0.49) / 4)


def test_unknown_voxels_are_neither_found_nor_false() -> None:
    probability, reference = maps()
    reference[2, 4, 25:27] = reference[1, 1, 12:15] = 255
    found = score_case("a", probability, reference, GRID)
    assert [one.lesion for one in found.candidates] == ["a/1", "a/1"]
    assert found.lesions == 2


def test_pooling_parts_equals_the_reliability_of_all() -> None:
    draw = np.random.default_rng(3)
    p = draw.uniform(0, 0.8, 900)
    t = draw.uniform(size=900) < p**2
    parts = [reliability(p[a:b], t[a:b]) for a, b in ((0, 7), (7, 400), (400, 400), (400, 900))]
    one, other = pooled(parts), reliability(p, t)
    assert one.ece == pytest.approx(other.ece)
    assert one.brier == pytest.approx(other.brier)
    np.testing.assert_array_equal(one.count, other.count)
    np.testing.assert_allclose(one.frequency, other.frequency)


def test_a_cohort_without_lesions_or_candidates_has_no_numbers() -> None:
    found = summary({"a": CaseScores((), 0)}, {"a": "a"})
    assert found["nodes"] == {
        "ece": None, "brier": None, "count": [0] * 10,
        "confidence": [None] * 10, "frequency": [None] * 10,
    }  # fmt: skip
    assert "voxels_near_foreground" not in found


def test_touching_classes_are_candidates_of_their_own() -> None:
    probability, reference = np.zeros(GRID.shape), np.zeros(GRID.shape, np.uint8)
    reference[1, 1, 2:5], reference[1, 1, 5:8] = 1, 2
    probability[1, 1, 1:5], probability[1, 1, 5:9] = 0.9, 0.6
    mask = np.zeros(GRID.shape, np.uint8)
    mask[1, 1, 3:5], mask[1, 1, 5:7] = 1, 2
    found = score_case("a", probability, reference, GRID, mask=mask)
    assert found.lesions == 2
    assert [(one.score, one.lesion) for one in found.candidates] == [(0.9, "a/1"), (0.6, "a/2")]
    alone = score_case("a", probability, reference, GRID)
    assert len(alone.candidates) == 1, "without a mask nothing tells them apart"
