"""A node's station is the place at its centroid, else the closest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hilum.core.case import Case
from hilum.core.geometry import Grid
from hilum.datasets.io.nifti import write_volume
from hilum.evaluation.metrics.node_record import NodeRecord
from hilum.segmenter.stations import name_stations

GRID = Grid(
    (30, 40, 50), np.array([[0, 0, -1.5, 40], [0, -1.5, 0, 30], [2, 0, 0, -7], [0, 0, 0, 1.0]])
)


def case(folder: Path, names: dict[str, str] | None = None) -> Case:
    mask = np.zeros(GRID.shape, np.uint8)
    mask[5:15, 5:15, 5:15] = 3
    mask[20:28, 25:35, 30:45] = 9
    file = write_volume(folder / "places.nii.gz", mask, GRID)
    if names:
        (folder / "places.json").write_text(json.dumps(names))
    return Case("a", "a", anatomy=file)


def nodes(*places: tuple[float, float, float]) -> list[NodeRecord]:
    return [
        NodeRecord(1, 1, (float(x), float(y), float(z)), 1.0, 5.0, 4.0, "")
        for x, y, z in GRID.to_world(np.array(places))
    ]


def test_inside_and_beside_by_a_slow_search(tmp_path: Path) -> None:
    places = [(10.0, 10.0, 10.0), (10.0, 10.0, 20.0), (29.0, 39.0, 49.0), (-6.0, 4.0, 2.0)]
    found = name_stations(nodes(*places), case(tmp_path, {"3": "4R", "9": "liver"}))
    assert [node.station for node in found] == ["4R", "4R", "liver", "4R"]
    wanted = [
        0,
        6 * 1.5,
        np.hypot.reduce([2 * 2, 5 * 1.5, 5 * 1.5]),
        np.hypot.reduce([22, 1.5, 4.5]),
    ]
    for node, mm in zip(found, wanted, strict=True):
        # Every second voxel is looked at, so a place may seem a voxel further.
        assert node.station_distance_mm == pytest.approx(mm, abs=2.6)
    assert found[0].station_distance_mm == 0


def test_a_place_too_thin_to_be_looked_at_is_still_found_around_a_centroid(tmp_path: Path) -> None:
    mask = np.full(GRID.shape, 8, np.uint8)
    mask[11] = 7
    file = write_volume(tmp_path / "places.nii.gz", mask, GRID)
    found = name_stations(nodes((11.0, 20.0, 20.0)), Case("a", "a", anatomy=file))
    assert found[0].station == "place 7"


def test_numbers_stand_for_names_that_nobody_gave(tmp_path: Path) -> None:
    (found,) = name_stations(nodes((10.0, 10.0, 10.0)), case(tmp_path))
    assert found.station == "place 3"


def test_without_a_mask_or_with_an_empty_one_nothing_is_said(tmp_path: Path) -> None:
    given = nodes((1.0, 1.0, 1.0))
    assert name_stations(given, Case("a", "a")) == given
    file = write_volume(tmp_path / "empty.nii.gz", np.zeros(GRID.shape, np.uint8), GRID)
    assert name_stations(given, Case("a", "a", anatomy=file)) == given
    assert name_stations([], case(tmp_path)) == []
