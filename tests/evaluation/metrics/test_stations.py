"""Sums by station: by hand, and together those of the case."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from hilum.core.geometry import Grid
from hilum.core.settings import validate
from hilum.evaluation.metrics.case import case_metrics
from hilum.evaluation.metrics.instances import Instances
from hilum.evaluation.metrics.node_record import NodeRecord
from hilum.evaluation.metrics.nodes import node_table
from hilum.evaluation.metrics.pairs import Pair, pairs_of
from hilum.evaluation.metrics.stations import NOWHERE, by_station
from hilum.evaluation.settings import EvaluationSettings

SETTINGS = validate(EvaluationSettings, {})


def node(number: int, station: str | None, volume_ml: float = 1.0) -> NodeRecord:
    return NodeRecord(number, 1, (0.0, 0.0, 0.0), volume_ml, 9.0, 8.0, "", station=station)


def test_a_predicted_node_counts_where_the_node_lies_that_it_found() -> None:
    ours = [node(1, "7"), node(2, "7"), node(3, None)]
    theirs = [node(1, "4R", 2.0), node(2, "7"), node(3, "7", 0.5)]
    pairs = [
        Pair(1, 1, 1, dice=0.4, counted_by=("f1agg", "lesion_dice")),  # 0.6 ml shared
        Pair(1, 1, 2, dice=0.1, counted_by=("lesion_dice",)),  # 0.1 ml
        Pair(1, 2, 3, dice=0.2, counted_by=("lesion_dice",)),  # 0.15 ml
        Pair(1, 3, None),
        Pair(1, None, 2),
    ]
    found = by_station(ours, theirs, pairs)
    assert found["4R"] == pytest.approx(
        {
            "lesion_tp": 1,
            "lesion_fp": 0,
            "lesion_fn": 0,
            "intersection_ml": 0.6,
            "volume_ml": 0.9,  # what it shares with the node at 7 counts there
            "reference_volume_ml": 2,
        }
    )
    assert found["7"] == pytest.approx(
        {
            "lesion_tp": 0,
            "lesion_fp": 1,
            "lesion_fn": 2,
            "intersection_ml": 0.25,
            "volume_ml": 1.1,
            "reference_volume_ml": 1.5,
        }
    )
    assert found[NOWHERE]["lesion_fp"] == 1
    assert sum(sums["volume_ml"] for sums in found.values()) == pytest.approx(3)


@pytest.mark.parametrize("hit", ["iou", "overlap", "distance"])
def test_stations_add_up_to_the_case(hit: str) -> None:
    settings = validate(EvaluationSettings, {"hit": hit, "hit_iou": 0.2, "hit_mm": 8})
    draw = np.random.default_rng(5)
    grid = Grid.from_spacing((10, 24, 24), (3.0, 2.0, 2.0))
    noise = ndimage.gaussian_filter(draw.random(grid.shape), 1.2)
    other = ndimage.gaussian_filter(noise + 0.03 * draw.standard_normal(grid.shape), 0.7)
    masks = [(array > np.quantile(array, 0.9)).astype(np.uint8) for array in (other, noise)]
    nodes = [Instances.of(mask) for mask in masks]
    tables = [
        [replace(one, station=f"{one.id % 3}") for one in node_table(own, grid)] for own in nodes
    ]
    found = by_station(tables[0], tables[1], pairs_of(nodes[0], nodes[1], grid, settings))
    whole = case_metrics(masks[0], masks[1], grid, settings=settings)
    assert whole["lesion_tp"] > 1
    assert whole["lesion_fp"] + whole["lesion_fn"] > 0
    for key in next(iter(found.values())):
        assert sum(sums[key] for sums in found.values()) == pytest.approx(whole[key]), key
