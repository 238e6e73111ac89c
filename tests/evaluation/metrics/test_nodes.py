"""Axes, uptake and peak of made nodes are what their makers made."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from hilum.core.files import read_json
from hilum.core.geometry import Grid
from hilum.evaluation.metrics.nodes import (
    PEAK_MM,
    axes_mm,
    n_features,
    node_table,
    size_class,
    write_nodes,
)

GRID = Grid.from_spacing((20, 40, 44), (3.0, 1.5, 1.0), origin=(5, -10, 100))


def ellipsoid(radii_mm: tuple[float, float, float], turn: float = 0.0) -> np.ndarray:
    """Return an ellipsoid in the middle, turned in the axial plane."""
    middle = (np.array(GRID.shape) - 1) / 2
    d, h, w = ((np.indices(GRID.shape).reshape(3, -1).T - middle) * GRID.spacing).T
    a, b = np.cos(turn) * h - np.sin(turn) * w, np.sin(turn) * h + np.cos(turn) * w
    inside = (d / radii_mm[0]) ** 2 + (a / radii_mm[1]) ** 2 + (b / radii_mm[2]) ** 2 <= 1
    return inside.reshape(GRID.shape)


@pytest.mark.parametrize("turn", [0.0, 0.5, 1.2])
@pytest.mark.parametrize("radii", [(9.0, 6.0, 10.0), (15.0, 4.5, 14.0), (6.0, 8.0, 8.0)])
def test_axes_of_an_ellipsoid_to_within_a_voxel(
    radii: tuple[float, float, float], turn: float
) -> None:
    long_mm, short_mm = axes_mm(ellipsoid(radii, turn), GRID.spacing)
    voxel = np.hypot(1.5, 1.0)
    assert long_mm == pytest.approx(2 * max(radii[1:]), abs=voxel)
    assert short_mm == pytest.approx(2 * min(radii[1:]), abs=voxel)


def test_one_voxel_is_as_long_as_its_diagonal() -> None:
    assert axes_mm(np.ones((1, 1, 1), bool), (3, 3, 4))[0] == pytest.approx(5)


def test_uptake_by_a_slow_formula() -> None:
    mask = ellipsoid((9.0, 6.0, 10.0))
    pet = np.random.default_rng(0).gamma(2.0, 2.0, GRID.shape)
    ct = np.full(GRID.shape, 35.0)
    (row,) = node_table(mask, GRID, {"pet": pet, "ct": ct})
    assert row["suv_max"] == pytest.approx(pet[mask].max())
    assert row["suv_mean"] == pytest.approx(pet[mask].mean())
    assert row["mtv_ml"] == pytest.approx(mask.sum() * 4.5 / 1000)
    assert row["tlg"] == pytest.approx(pet[mask].sum() * 4.5 / 1000)
    assert row["suv_peak"] == pytest.approx(slow_peak(pet, mask))
    assert row["hu_mean"] == pytest.approx(35)


def test_the_sphere_has_one_millilitre() -> None:
    assert 4 / 3 * np.pi * PEAK_MM**3 == pytest.approx(1000)


def test_nodes_are_numbered_by_volume_and_placed_in_the_patient() -> None:
    mask = np.zeros(GRID.shape, np.uint8)
    mask[2, 3, 4] = 1
    mask[10:13, 20:23, 30:33] = 2
    first, second = node_table(mask, GRID)
    assert (first["id"], first["label"], second["id"]) == (1, 2, 2)
    assert second["centroid_mm"] == pytest.approx([5 + 4, -10 + 4.5, 100 + 6])
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
    assert read_json(tmp_path / "case_1_nodes.json") == rows
    with (tmp_path / "case_1_nodes.csv").open() as stream:
        (line,) = csv.DictReader(stream)
    assert float(line["volume_ml"]) == pytest.approx(rows[0]["volume_ml"])


def test_thresholded_volumes_stay_inside_the_node() -> None:
    mask = ellipsoid((9.0, 6.0, 10.0))
    pet = np.random.default_rng(0).gamma(2.0, 2.0, GRID.shape)
    (row,) = node_table(mask, GRID, {"pet": pet})
    for name, limit in (("41pct", 0.41 * pet[mask].max()), ("suv2.5", 2.5), ("suv4", 4.0)):
        expected = sum(value >= limit for value in pet[mask]) * 4.5 / 1000
        assert row[f"mtv_{name}_ml"] == pytest.approx(expected)


def test_probability_uncertainty_and_the_nearest_place() -> None:
    mask = np.zeros(GRID.shape, np.uint8)
    mask[2, 3, 4:6] = 1
    maps = np.random.default_rng(0).random((2, *GRID.shape))
    places = {"far": (90.0, 0.0, 0.0), "near": (9.5, -5.5, 110.0)}
    (row,) = node_table(mask, GRID, probability=maps[0], uncertainty=maps[1], stations=places)
    assert row["probability"] == pytest.approx(maps[0][2, 3, 4:6].mean())
    assert row["probability_max"] == pytest.approx(maps[0][2, 3, 4:6].max())
    assert row["uncertainty"] == pytest.approx(maps[1][2, 3, 4:6].mean())
    assert (row["station"], row["station_distance_mm"]) == ("near", pytest.approx(4))


def test_features_of_a_patient() -> None:
    mask = np.zeros(GRID.shape, np.uint8)
    mask[2, 3, 4] = 1
    mask[10:13, 20:22, 30:34] = 1
    got = n_features(node_table(mask, GRID))
    assert got["nodes"] == 2
    assert got["max_long_axis_mm"] == pytest.approx(5)
    assert got["total_volume_ml"] == pytest.approx(25 * 4.5 / 1000)
    assert n_features([])["max_short_axis_mm"] == 0


def slow_peak(pet: np.ndarray, mask: np.ndarray) -> float:
    best = -np.inf
    every = np.indices(pet.shape).reshape(3, -1).T
    for centre in np.argwhere(mask):
        near = np.linalg.norm((every - centre) * GRID.spacing, axis=1) <= PEAK_MM
        best = max(best, float(pet[tuple(every[near].T)].mean()))
    return best


def test_axes_are_those_of_the_longest_slice_found_without_shortcuts() -> None:
    draw = np.random.default_rng(0)
    for _ in range(30):
        mask, spacing = np.zeros((20, 15, 18), bool), (3.0, *draw.uniform(0.9, 2, 2))
        longest = 0.0
        for part in mask:
            pair = draw.integers(0, part.shape, (2, 2))
            part[tuple(pair.T)] = True
            corners = (pair[:, None] + [[0, 0], [0, 1], [1, 0], [1, 1]]).reshape(-1, 2)
            points = corners * spacing[1:]
            apart = points[:, None] - points[None]
            longest = max(longest, float(np.sqrt((apart**2).sum(-1)).max()))
        assert axes_mm(mask, spacing)[0] == pytest.approx(longest, abs=1e-9)
