"""Each hit criterion by hand, one node for one, and against every matching there is."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from hilum.core.geometry import Grid
from hilum.core.settings import validate
from hilum.evaluation.metrics.case import case_metrics
from hilum.evaluation.metrics.detection import detection_metrics
from hilum.evaluation.metrics.instances import Instances
from hilum.evaluation.metrics.matching import Hit, Nearby
from hilum.evaluation.metrics.pairs import pairs_of
from hilum.evaluation.settings import EvaluationSettings

GRID = Grid.from_spacing((1, 1, 60), (3.0, 2.0, 1.0))


def line(*spans: tuple[int, int, int]) -> np.ndarray:
    """Return a row of voxels with a class from one place to another."""
    array = np.zeros(GRID.shape, np.uint8)
    for start, stop, value in spans:
        array[0, 0, start:stop] = value
    return array


REFERENCE = line((0, 10, 1), (20, 28, 1), (40, 46, 1))
PREDICTION = line((0, 6, 1), (26, 31, 1), (48, 53, 1))
"""IoU 0.6 and centres 2 mm apart; IoU 2 / 11, 4.5 mm, centre outside; none, 7.5 mm."""


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"hit": "iou"}, 1),
        ({"hit": "iou", "hit_iou": 0.1}, 2),
        ({"hit": "iou", "hit_iou": 0.6}, 0),
        ({"hit": "overlap"}, 2),
        ({"hit": "centre"}, 1),
        ({"hit": "distance", "hit_mm": 4.5}, 2),
        ({"hit": "distance", "hit_mm": 7.5}, 3),
        ({"hit": "distance", "hit_mm": 1.9}, 0),
    ],
)
def test_what_counts_as_found_by_hand(asked: dict[str, object], found: int) -> None:
    settings = validate(EvaluationSettings, asked)
    numbers = case_metrics(PREDICTION, REFERENCE, GRID, settings=settings)
    counts = [numbers[f"lesion_{end}"] for end in ("tp", "fp", "fn")]
    assert counts == [found, 3 - found, 3 - found]
    assert numbers["false_positives"] == 3 - found
    assert numbers["lesion_sensitivity"] == pytest.approx(found / 3)
    rows = pairs_of(Instances.of(PREDICTION), Instances.of(REFERENCE), GRID, settings)
    assert sum("f1agg" in row.counted_by for row in rows) == found
    assert numbers["lesion_tp_50"] == 1, "panoptic quality goes by the IoU, whatever is a hit"


def test_the_centre_counts_where_the_node_is_not() -> None:
    """A predicted node around a smaller one: its centre lies inside, though the IoU is small."""
    numbers = detection_metrics(line((0, 21, 1)) > 0, line((9, 12, 1)) > 0, GRID, hit="centre")
    assert numbers["lesion_tp"] == 1
    assert detection_metrics(line((0, 21, 1)) > 0, line((9, 12, 1)) > 0, GRID)["lesion_tp"] == 0


def test_the_area_over_thresholds_by_hand() -> None:
    numbers = case_metrics(PREDICTION, REFERENCE, GRID)
    # Above 0.1: two of three; above 0.2 to 0.5: one; the IoU of 0.6 is not above 0.6.
    assert numbers["lesion_f1_auc"] == pytest.approx((2 + 4) / 3 / 9)


@pytest.mark.parametrize("hit", ["iou", "overlap", "distance"])
def test_the_matching_is_the_best_of_all(hit: Hit) -> None:
    draw = np.random.default_rng(7)
    for _ in range(30):
        iou = np.where(draw.random((4, 3)) < 0.6, draw.random((4, 3)), 0)
        far = draw.uniform(0, 10, (4, 3))
        near = Nearby(iou, iou, far, iou > 0)
        got = near.match(hit, 0.3, 5)

        def worth(pairs: list[tuple[int, int]], iou: np.ndarray, far: np.ndarray) -> tuple:
            """Return the number of pairs that may count, then how close they are."""
            if hit == "iou":
                return (sum(iou[p] for p in pairs if iou[p] > 0.3),)
            if hit == "overlap":
                good = [iou[p] for p in pairs if iou[p] > 0]
            else:
                good = [1 / (1 + far[p]) for p in pairs if far[p] <= 5]
            return len(good), sum(good)

        best = max(
            worth(list(zip(p, range(3), strict=True)), iou, far) for p in permutations(range(4), 3)
        )
        assert worth([(a - 1, b - 1) for a, b in got], iou, far) == pytest.approx(best)


def test_pairs_name_the_nodes_of_their_class_and_who_counted_them() -> None:
    reference = line((0, 10, 1), (12, 20, 2), (30, 35, 1))
    prediction = line((0, 6, 1), (6, 10, 2), (12, 20, 2), (50, 59, 2))
    ours, theirs = Instances.of(prediction), Instances.of(reference)
    rows = pairs_of(ours, theirs, GRID, validate(EvaluationSettings, {}))
    table = [(row.label, row.prediction, row.reference, row.counted_by) for row in rows]
    every = ("f1agg", "panoptic_quality", "lesion_dice")
    assert table == [
        (1, 3, 1, every),
        (1, None, 3, ()),
        (2, 2, 2, every),
        (2, 1, None, ()),
        (2, 4, None, ()),
    ]
    assert (rows[0].iou, rows[0].dice, rows[0].distance_mm) == pytest.approx((0.6, 0.75, 2))
    assert rows[2].iou == 1
