"""Axes, uptake and peak of made nodes are what their makers made."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.evaluation.metrics.node_record import NodeRecord, columns, read_nodes, write_nodes
from hilum.evaluation.metrics.nodes import n_features, node_table, size_class
from hilum.evaluation.metrics.uptake_of_node import PEAK_MM

GRID = Grid.from_spacing((20, 40, 44), (3.0, 1.5, 1.0), origin=(5, -10, 100))


def ellipsoid(radii_mm: tuple[float, float, float], turn: float = 0.0) -> np.ndarray:
    """Return an ellipsoid in the middle, turned in the axial plane."""
    middle = (np.array(GRID.shape) - 1) / 2
    d, h, w = ((np.indices(GRID.shape).reshape(3, -1).T - middle) * GRID.spacing).T
    a, b = np.cos(turn) * h - np.sin(turn) * w, np.sin(turn) * h + np.cos(turn) * w
    inside = (d / radii_mm[0]) ** 2 + (a / radii_mm[1]) ** 2 + (b / radii_mm[2]) ** 2 <= 1
    return inside.reshape(GRID.shape)


def test_uptake_by_a_slow_formula() -> None:
    mask = ellipsoid((9.0, 6.0, 10.0))
    pet = np.random.default_rng(0).gamma(2.0, 2.0, GRID.shape)
    ct = np.full(GRID.shape, 35.0)
    (row,) = node_table(mask, GRID, {"pet": pet, "ct": ct})
    assert row.suv_max == pytest.approx(pet[mask].max())
    assert row.suv_mean == pytest.approx(pet[mask].mean())
    assert row.mtv_ml == pytest.approx(mask.sum() * 4.5 / 1000)
    assert row.tlg == pytest.approx(pet[mask].sum() * 4.5 / 1000)
    assert row.suv_peak == pytest.approx(slow_peak(pet, mask))
    assert row.hu_mean == pytest.approx(35)


def test_the_sphere_has_one_millilitre() -> None:
    assert 4 / 3 * np.pi * PEAK_MM**3 == pytest.approx(1000)


def test_nodes_are_numbered_by_volume_and_placed_in_the_patient() -> None:
    mask = np.zeros(GRID.shape, np.uint8)
    mask[2, 3, 4] = 1
    mask[10:13, 20:23, 30:33] = 2
    first, second = node_table(mask, GRID)
    assert (first.id, first.label, second.id) == (1, 2, 2)
    assert second.centroid_mm == pytest.approx([5 + 4, -10 + 4.5, 100 + 6])
    assert node_table(np.zeros(GRID.shape), GRID) == []


def test_corners_join_voxels_into_one_node() -> None:
    mask = np.zeros(GRID.shape, bool)
    mask[5, 5, 5] = mask[6, 6, 6] = True
    assert len(node_table(mask, GRID)) == 1


@pytest.mark.parametrize(("short", "word"), [(9.9, "normal"), (10, "enlarged"), (15, "measurable")])
def test_size_classes_follow_recist(short: float, word: str) -> None:
    assert size_class(short).startswith(word)


def test_tables_are_written_as_csv_and_json(tmp_path: Path) -> None:
    rows = node_table(ellipsoid((9.0, 6.0, 10.0)), GRID)
    write_nodes(tmp_path, "case_1", rows)
    assert read_nodes(tmp_path / "case_1_nodes.json") == rows
    with (tmp_path / "case_1_nodes.csv").open() as stream:
        (line,) = csv.DictReader(stream)
    assert float(line["volume_ml"]) == pytest.approx(rows[0].volume_ml)


def test_thresholded_volumes_stay_inside_the_node() -> None:
    mask = ellipsoid((9.0, 6.0, 10.0))
    pet = np.random.default_rng(0).gamma(2.0, 2.0, GRID.shape)
    (row,) = node_table(mask, GRID, {"pet": pet})
    for name, limit in (("41pct", 0.41 * pet[mask].max()), ("suv2.5", 2.5), ("suv4", 4.0)):
        expected = sum(value >= limit for value in pet[mask]) * 4.5 / 1000
        assert row.row[f"mtv_{name}_ml"] == pytest.approx(expected)


def test_probability_uncertainty_and_the_nearest_place() -> None:
    mask = np.zeros(GRID.shape, np.uint8)
    mask[2, 3, 4:6] = 1
    maps = np.random.default_rng(0).random((2, *GRID.shape))
    places = {"far": (90.0, 0.0, 0.0), "near": (9.5, -5.5, 110.0)}
    (row,) = node_table(mask, GRID, probability=maps[0], uncertainty=maps[1], stations=places)
    assert row.probability == pytest.approx(maps[0][2, 3, 4:6].mean())
    assert row.probability_max == pytest.approx(maps[0][2, 3, 4:6].max())
    assert row.uncertainty == pytest.approx(maps[1][2, 3, 4:6].mean())
    assert (row.station, row.station_distance_mm) == ("near", pytest.approx(4))


def test_features_of_a_patient() -> None:
    mask = np.zeros(GRID.shape, np.uint8)
    mask[2, 3, 4] = 1
    mask[10:13, 20:22, 30:34] = 1
    got = n_features(node_table(mask, GRID))
    assert got["nodes"] == 2
    # Two by four voxels of 1.5 x 1 mm, from outline to outline: 1.5 mm and 4 mm apart.
    assert got["max_long_axis_mm"] == pytest.approx(np.hypot(1.5, 4))
    assert got["total_volume_ml"] == pytest.approx(25 * 4.5 / 1000)
    assert n_features([])["max_short_axis_mm"] == 0


def slow_peak(pet: np.ndarray, mask: np.ndarray) -> float:
    best = -np.inf
    every = np.indices(pet.shape).reshape(3, -1).T
    for centre in np.argwhere(mask):
        near = np.linalg.norm((every - centre) * GRID.spacing, axis=1) <= PEAK_MM
        best = max(best, float(pet[tuple(every[near].T)].mean()))
    return best


def test_touching_classes_are_nodes_of_their_own() -> None:
    mask = np.zeros(GRID.shape, np.uint8)
    mask[5, 5, 5:8], mask[5, 5, 8:12], mask[6, 5, 12] = 1, 2, 255
    pet = np.where(mask == 1, 4.0, 2.0)
    first, second = node_table(mask, GRID, {"pet": pet})
    assert (first.label, first.tlg) == (2, pytest.approx(4 * 0.0045 * 2))
    assert (second.label, second.tlg) == (1, pytest.approx(3 * 0.0045 * 4))


def test_a_record_survives_its_files_and_every_column_says_what_it_is(tmp_path: Path) -> None:
    pet = np.random.default_rng(0).gamma(2.0, 2.0, GRID.shape)
    (node,) = node_table(ellipsoid((9.0, 6.0, 10.0)), GRID, {"pet": pet})
    assert NodeRecord.from_row(node.row) == node
    for name, about in columns().items():
        assert about.meaning
        assert about.title
        assert (about.unit == "ml") == name.endswith("_ml")
        assert about.unit.startswith("mm") == name.endswith("_mm")
    (tmp_path / "x_nodes.json").write_text('[{"id": 1}]')
    with pytest.raises(DataError, match=r"x_nodes\.json: .*every column, found no centroid_mm"):
        read_nodes(tmp_path / "x_nodes.json")
    (tmp_path / "x_nodes.json").write_text('{"id": 1}')
    with pytest.raises(DataError, match="must be a list of rows"):
        read_nodes(tmp_path / "x_nodes.json")
