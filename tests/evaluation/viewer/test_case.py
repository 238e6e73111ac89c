"""A slice of the viewer shows the voxels of the scan, and its lines the borders of the mask."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.evaluation.metrics.nodes import node_table
from hilum.evaluation.viewer.case import (  # fmt: skip
    Layer,
    Shown,
    describe,
    mark,
    scaled,
    slice_png,
)
from hilum.evaluation.viewer.contours import contours, edges

SIDES = (4, 6, 9)
GRID = Grid.from_spacing(SIDES, (3.0, 2.0, 1.5), (-20.0, 10.0, 300.0))


def at(array: np.ndarray) -> Callable[[int], np.ndarray]:
    return lambda depth: array[depth]


def volumes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(3)
    ct = draw.uniform(-1000, 600, SIDES).astype(np.float32)
    pet = draw.uniform(0, 12, SIDES).astype(np.float32)
    mask = np.zeros(SIDES, np.uint8)
    mask[1:3, 1:3, 1:3] = 1
    mask[2, 4:6, 4:9] = 1
    mask[2, 5, 5] = 0
    return ct, pet, mask


def shown() -> Shown:
    ct, pet, mask = volumes()
    layers = [Layer("ct", "HU", (-160, 240), at(ct)), Layer("pet", "SUV", (0, 8), at(pet))]
    rows = node_table(mask, GRID, {"ct": ct, "pet": pet})
    return Shown("a", GRID, layers, {"prediction": mark(mask, GRID, rows)}, rows)


def pixels(png: bytes) -> np.ndarray:
    """Return a picture with its axes as those of the array."""
    return np.array(Image.open(io.BytesIO(png)))[::-1, ::-1]


def test_pixels_are_the_voxels_of_the_slice_in_the_window() -> None:
    ct, pet, _ = volumes()
    for depth in range(SIDES[0]):
        found = pixels(slice_png(shown(), "ct", depth, {"ct": (-100, 300)}))
        for h, w in np.ndindex(SIDES[1:]):
            share = min(max((float(ct[depth, h, w]) + 100) / 400, 0), 1)
            assert found[h, w] == round(share * 255)
        found = pixels(slice_png(shown(), "pet", depth, {}))
        for h, w in np.ndindex(SIDES[1:]):
            assert found[h, w] == round(255 - min(float(pet[depth, h, w]) / 8, 1) * 255)


def test_the_upper_left_pixel_is_the_right_anterior_voxel() -> None:
    array = np.zeros(SIDES, np.float32)
    array[2, -1, -1] = 100
    case = Shown("a", GRID, [Layer("ct", "HU", (0, 100), at(array))])
    picture = np.array(Image.open(io.BytesIO(slice_png(case, "ct", 2, {}))))
    assert picture.shape == SIDES[1:]
    assert picture[0, 0] == 255
    assert picture.sum() == 255


def test_fused_is_ct_where_pet_is_cold_and_heat_where_it_is_hot() -> None:
    ct, pet, _ = volumes()
    pet[1, 0, 0], pet[1, 0, 1], ct[1, 0, :2] = 0, 8, 40
    layers = [Layer("ct", "HU", (-160, 240), at(ct)), Layer("pet", "SUV", (0, 8), at(pet))]
    found = pixels(slice_png(Shown("a", GRID, layers), "fused", 1, {}))
    assert found[0, 0].tolist() == [128] * 3
    assert found[0, 1].tolist() == [round((0.5 * 0.25 + 0.75) * 255)] * 3
    with pytest.raises(DataError, match="must have fused"):
        slice_png(Shown("a", GRID, layers[:1]), "fused", 1, {})


@pytest.mark.parametrize("depth", [-1, 4])
def test_a_slice_that_is_not_there_is_refused(depth: int) -> None:
    with pytest.raises(DataError, match="slice must be below 4"):
        slice_png(shown(), "ct", depth, {})


def test_an_empty_window_gives_a_step() -> None:
    assert scaled(np.array([1.0, 2.0, 3.0]), (2.0, 2.0)).tolist() == [0, 0, 1]


def slow_edges(inside: np.ndarray) -> set[tuple[int, int, int, int]]:
    """Return every unit edge between a pixel inside and one outside."""
    found = set()
    around = np.pad(inside, 1)
    for row, column in np.argwhere(inside):
        r, c = row + 1, column + 1
        for other, edge in (
            (around[r - 1, c], (column, row, column + 1, row)),
            (around[r + 1, c], (column, row + 1, column + 1, row + 1)),
            (around[r, c - 1], (column, row, column, row + 1)),
            (around[r, c + 1], (column + 1, row, column + 1, row + 1)),
        ):
            if not other:
                found.add(tuple(int(v) for v in edge))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_lines_are_the_edges_between_inside_and_outside(seed: int) -> None:
    inside = np.random.default_rng(seed).random((7, 11)) < 0.5
    units = set()
    for a, b, c, d in edges(inside).tolist():
        assert a == c or b == d
        units |= {(x, b, x + 1, b) for x in range(a, c)} | {(a, y, a, y + 1) for y in range(b, d)}
    assert units == slow_edges(inside)


def test_contours_lie_on_the_pixels_of_their_node() -> None:
    _, _, mask = volumes()
    case = shown()
    found = contours(case, 2)["prediction"]
    assert set(found) == {"1", "2"}
    turned = mask[2, ::-1, ::-1] > 0
    drawn = set()
    for lines in found.values():
        for x1, y1, x2, y2 in lines:
            a, c, b, d = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
            drawn |= {(x, b, x + 1, b) for x in range(a, c)}
            drawn |= {(a, y, a, y + 1) for y in range(b, d)}
    assert drawn == slow_edges(turned)
    assert contours(case, 0) == {}
    assert set(contours(case, 1)["prediction"]) == {"2"}


def test_nodes_have_the_numbers_of_their_table_whatever_its_order() -> None:
    _, _, mask = volumes()
    rows = node_table(mask, GRID)
    rows = [replace(rows[0], id=2), replace(rows[1], id=1)]
    marked = mark(mask, GRID, rows)
    assert marked.start == (1, 1, 1)
    assert marked.labels[0, 0, 0] == 1
    assert marked.labels[1, 3, 3] == 2
    assert np.unique(mark(mask, GRID).labels).tolist() == [0, 1, 2]
    assert np.unique(mark(mask, GRID, rows[:1]).labels).tolist() == [0, 2, 3]
    assert mark(mask * 0, GRID).labels.size == 0


def test_a_description_names_windows_and_the_slice_of_each_node() -> None:
    case = shown()
    about = describe(case)
    assert about["shape"] == list(SIDES)
    assert about["fused"] is True
    first, second = about["nodes"]  # pyright: ignore[reportGeneralTypeIssues]
    assert (first["id"], first["slice"], second["slice"]) == (1, 2, 2)
    ct = about["layers"][0]  # pyright: ignore[reportIndexIssue]
    assert next(iter(ct["presets"].values())) == (-160, 240)
    other = Layer("mr", "a.u.", (0.0, 812.0), at(np.zeros(SIDES)))
    assert other.presets == {"whole range": (0.0, 812.0)}


def test_the_body_is_shown_without_most_of_the_air_but_with_all_of_itself() -> None:
    grid = Grid.from_spacing((5, 60, 90), (3.0, 5.0, 3.0))
    ct = np.full(grid.shape, -1000, np.float32)
    ct[1:3, 20:40, 10:50] = 30
    ct[:, 5, :] = 200  # a thin couch
    case = Shown("a", grid, [Layer("ct", "HU", (-160, 240), at(ct))])
    # 3 rows and 5 columns of margin; a picture is turned over along both axes.
    assert describe(case)["body"] == [90 - 50 - 5, 60 - 40 - 3, 90 - 10 + 5, 60 - 20 + 3]
    pet = Shown("a", grid, [Layer("pet", "SUV", (0, 8), at(ct))])
    assert describe(pet)["body"] == [0, 0, 90, 60]


def test_a_case_without_nodes_begins_in_the_middle() -> None:
    case = Shown("a", GRID, shown().layers, {"prediction": mark(np.zeros(SIDES), GRID)})
    assert describe(case)["first"] == 2
    assert contours(case, 2) == {}
