"""Contours of one slice that repeat, cross or enclose each other: what is hole and what is not."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.core.notes import Note
from hilum.datasets.dicom.contours import read_contours
from hilum.datasets.dicom.polygons import fill_polygons

from .test_contours import STRAIGHT, at_depth, circle, structure

SHAPE = (31, 33)
ROWS, COLUMNS = np.mgrid[: SHAPE[0], : SHAPE[1]]


def disc(row: float, column: float, radius: float) -> np.ndarray:
    return np.hypot(ROWS - row, COLUMNS - column) < radius


A, B = circle(15.3, 12.2, 9.1), circle(15.3, 19.2, 9.1)
IN_A, IN_B = disc(15.3, 12.2, 9.1), disc(15.3, 19.2, 9.1)
HOLE, IN_HOLE = circle(15.3, 12.2, 5), disc(15.3, 12.2, 5)
ISLAND, IN_ISLAND = circle(15.3, 12.2, 2), disc(15.3, 12.2, 2)
FAR, IN_FAR = circle(6.3, 27.2, 3), disc(6.3, 27.2, 3)
TURNED = np.roll(A[::-1], 37, 0)
SPARSE = circle(15.3, 12.2, 9.1, 170)
"""The outline of A by other corners."""
KEYHOLE = np.concatenate([A, A[:1], HOLE[::-1], HOLE[-1:], A[:1]])
SAME_WAY = np.concatenate([A, A[:1], HOLE, HOLE[:1], A[:1]])
"""A keyhole whose hole runs around as its outline does."""

CASES = {
    "one": ([A], IN_A),
    "twice": ([A, A], IN_A),
    "three times": ([A, A, A], IN_A),
    "twice, the other way round from another corner": ([A, TURNED], IN_A),
    "twice, by other corners": ([A, SPARSE], IN_A),
    "twice, a tenth of a voxel off": ([A, A + 0.1], IN_A),
    "twice around in one contour": ([np.concatenate([A, A])], IN_A),
    "twice around and closed": ([np.concatenate([A, A[:1], A, A[:1]])], IN_A),
    "drawn on past its start": ([np.concatenate([A, A[:60]])], IN_A),
    "hole": ([A, HOLE], IN_A & ~IN_HOLE),
    "hole first": ([HOLE, A], IN_A & ~IN_HOLE),
    "hole, outline twice": ([A, HOLE, TURNED], IN_A & ~IN_HOLE),
    "hole, hole twice": ([A, HOLE, HOLE[::-1]], IN_A & ~IN_HOLE),
    "island in a hole": ([A, HOLE, ISLAND], (IN_A & ~IN_HOLE) | IN_ISLAND),
    "two holes side by side": (
        [A, circle(12.3, 10.2, 2), circle(19.3, 13.2, 2.5)],
        IN_A & ~disc(12.3, 10.2, 2) & ~disc(19.3, 13.2, 2.5),
    ),
    "apart": ([A, FAR], IN_A | IN_FAR),
    "crossing": ([A, B], IN_A | IN_B),
    "crossing, one twice": ([A, B, A], IN_A | IN_B),
    "crossing and a hole of the first": (
        [A, B, circle(15.3, 6.2, 2)],
        (IN_A & ~disc(15.3, 6.2, 2)) | IN_B,
    ),
    "a hole that the second outline covers": (
        [A, B, circle(15.3, 16.2, 2)],
        (IN_A | IN_B) & ~disc(15.3, 16.2, 2),
    ),
    "keyhole": ([KEYHOLE], IN_A & ~IN_HOLE),
    "keyhole of one direction": ([SAME_WAY], IN_A & ~IN_HOLE),
    "keyhole with an island": ([KEYHOLE, ISLAND], (IN_A & ~IN_HOLE) | IN_ISLAND),
    "keyhole twice": ([KEYHOLE, KEYHOLE], IN_A & ~IN_HOLE),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_inside(name: str) -> None:
    polygons, expected = CASES[name]
    np.testing.assert_array_equal(fill_polygons(polygons, SHAPE).inside, expected)
    if name != "twice, a tenth of a voxel off":  # the first is the one that counts
        np.testing.assert_array_equal(fill_polygons(polygons[::-1], SHAPE).inside, expected)


def test_the_explicit_exclusive_or_follows_the_standard_but_counts_copies_once() -> None:
    found = fill_polygons([A, B], SHAPE, exclusive_or=True)
    np.testing.assert_array_equal(found.inside, IN_A ^ IN_B)
    assert found.removed == (IN_A & IN_B).sum()
    np.testing.assert_array_equal(fill_polygons([A, A], SHAPE, True).inside, IN_A)
    np.testing.assert_array_equal(fill_polygons([A, HOLE], SHAPE, True).inside, IN_A & ~IN_HOLE)


NOTES = {
    "twice": ([A, A], "warning", "1 contours repeat another of their slice and count once"),
    "crossing": ([A, B], "warning", "2 contours cross another of their slice"),
    "hole": ([A, ISLAND], "info", "contours inside of others remove"),
    "large hole": ([A, circle(15.3, 12.2, 8)], "warning", "contours inside of others remove"),
}


@pytest.mark.parametrize("name", NOTES)
def test_what_changes_a_region_is_noted(name: str) -> None:
    polygons, severity, text = NOTES[name]
    grid = STRAIGHT.crop((0, 0, 0), (6, *SHAPE))
    notes: list[Note] = []
    data = structure(grid, [at_depth(2, polygon) for polygon in polygons])
    list(read_contours(data, [4], grid, notes))
    (note,) = notes
    assert note.severity == severity
    assert text in note.text


def test_the_volume_that_a_hole_takes_is_the_one_in_the_note() -> None:
    grid = STRAIGHT.crop((0, 0, 0), (6, *SHAPE))
    notes: list[Note] = []
    data = structure(grid, [at_depth(2, A), at_depth(2, HOLE)])
    ((_, mask),) = read_contours(data, [4], grid, notes)
    removed = (IN_A.sum() - mask.sum()) * 3.0 * 1.5 * 1.2 / 1000
    assert f"remove {removed:.3g} ml" in notes[0].text
