"""An outline holds exactly the pixels that it was drawn around."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from hilum.exchange.dicom_out.outlines import outlines


def inside(polygon: np.ndarray, row: float, column: float) -> bool:
    """Cast a ray to the right of a point, and count the edges on its way."""
    odd = False
    for (a, b), (c, d) in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        if (a > row) != (c > row) and column < b + (row - a) * (d - b) / (c - a):
            odd = not odd
    return odd


def area(polygon: np.ndarray) -> float:
    """Return the area by the trapezoids between each edge and the axis."""
    total = 0.0
    for (a, b), (c, d) in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        total += (c - a) * (b + d) / 2
    return abs(total)


def drawn(polygons: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    found = np.zeros(shape, int)
    for polygon in polygons:
        for row, column in np.ndindex(shape):
            found[row, column] += inside(polygon, row, column)
    return found


@pytest.mark.parametrize("seed", range(12))
def test_each_part_has_one_outline_that_holds_its_pixels(seed: int) -> None:
    draw = np.random.default_rng(seed)
    mask = draw.random((9, 13)) < draw.uniform(0.2, 0.9)
    polygons = outlines(mask)
    np.testing.assert_array_equal(drawn(polygons, (9, 13)), mask)
    labels, count = ndimage.label(mask)  # pyright: ignore[reportGeneralTypeIssues]
    assert len(polygons) == count
    assert [area(p) for p in polygons] == list(np.bincount(labels.ravel())[1:])


def test_a_ring_in_a_ring_is_two_outlines_without_what_is_between() -> None:
    mask = np.zeros((11, 14), bool)
    mask[1:10, 1:12] = True
    mask[2:9, 2:11] = False
    mask[3:8, 3:10] = True
    mask[5, 5:7] = False
    polygons = outlines(mask)
    assert len(polygons) == 2
    np.testing.assert_array_equal(drawn(polygons, (11, 14)), mask)


def test_a_box_has_four_corners_half_a_pixel_outside_of_its_centres() -> None:
    mask = np.zeros((5, 7), bool)
    mask[1:3, 2:6] = True
    (polygon,) = outlines(mask)
    assert {tuple(p) for p in polygon} == {(0.5, 1.5), (0.5, 5.5), (2.5, 5.5), (2.5, 1.5)}
    assert len(polygon) == 4


def test_nothing_has_no_outline() -> None:
    assert outlines(np.zeros((3, 4), bool)) == []
