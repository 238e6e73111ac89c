"""Axes of a node against a slow search, whatever way round it lies, and without bias."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from hilum.evaluation.metrics.axes import axes_mm

SPACING = (3.0, 1.5, 1.0)


def ellipsoid(
    radii: tuple[float, ...],
    spacing: tuple[float, ...],
    turn: np.ndarray | None = None,
    offset: tuple[float, ...] = (0, 0, 0),
) -> np.ndarray:
    """Return an ellipsoid with radii in mm, its middle `offset` voxels beside a voxel's."""
    reach = max(radii) + 2 * max(spacing)
    sides = [
        (np.arange(-np.ceil(reach / s), np.ceil(reach / s) + 1) + o) * s
        for s, o in zip(spacing, offset, strict=True)
    ]
    places = np.stack(np.meshgrid(*sides, indexing="ij"), -1)
    return (((places @ (np.eye(3) if turn is None else turn)) / radii) ** 2).sum(-1) <= 1


def slow_axes(  # noqa: C901 - the order of the definition
    mask: np.ndarray, spacing: tuple[float, ...]
) -> tuple[float, float]:
    """Return both axes from every pair of points between voxel centres, and every chord."""
    scale, found = np.array(spacing[1:]), []
    for part in mask:
        cells = np.pad(part, 1).astype(int)
        lines = []
        for i, j in np.ndindex(cells.shape[0] - 1, cells.shape[1] - 1):
            # Around a cell: a crossing lies midway along a side whose ends differ.
            corners = [(i, j), (i, j + 1), (i + 1, j + 1), (i + 1, j), (i, j)]
            cross = [
                (np.add(p, q) / 2 * scale, cells[p], cells[q])
                for p, q in pairwise(corners)
                if cells[p] != cells[q]
            ]
            if len(cross) == 2:
                lines.append((cross[0][0], cross[1][0]))
            elif cross:  # around each corner that lies outside, in turn from inside to outside
                first = 0 if cross[0][2] == 0 else 1
                order = [(first + k) % 4 for k in range(4)]
                lines += [(cross[a][0], cross[b][0]) for a, b in (order[:2], order[2:])]
        points = [point for line in lines for point in line]
        for p in points:
            for q in points:
                found.append((float(np.hypot(*(p - q))), p, q, lines))
    longest = max(length for length, *_ in found)
    widest = 0.0
    for length, p, q, lines in found:
        if length < longest - 1e-7:
            continue
        along = (q - p) / length
        across = np.array([-along[1], along[0]])
        for place in {float(round(end @ along, 9)) for line in lines for end in line}:
            reach = []
            for a, b in lines:
                ta, tb = float(a @ along), float(b @ along)
                if min(ta, tb) - 1e-7 <= place <= max(ta, tb) + 1e-7:
                    if abs(tb - ta) < 1e-7:
                        reach += [float(a @ across), float(b @ across)]
                    else:
                        share = (place - ta) / (tb - ta)
                        reach.append(float((a + share * (b - a)) @ across))
            widest = max(widest, max(reach) - min(reach))
    return longest, widest


@pytest.mark.parametrize("seed", range(8))
def test_axes_are_those_of_a_slow_search(seed: int) -> None:
    draw = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(draw.random((3, 9, 10)), 1.0) > 0.5
    spacing = (3.0, float(draw.uniform(0.8, 2)), float(draw.uniform(0.8, 2)))
    assert axes_mm(mask, spacing) == pytest.approx(slow_axes(mask, spacing), abs=1e-5)


def test_a_voxel_and_a_row_by_hand() -> None:
    # Midway between centres, one voxel is a rhombus with the diagonals of its sides.
    assert axes_mm(np.ones((1, 1, 1), bool), (3, 3, 4)) == pytest.approx((4, 3))
    assert axes_mm(np.ones((1, 1, 5), bool), (3, 3, 4)) == pytest.approx((20, 3))


def test_a_bent_node_is_as_thick_as_it_is_not_as_wide_as_it_bends() -> None:
    h, w = np.indices((60, 60)) - 30.0
    radius = np.hypot(h, w)
    ring = (radius > 16) & (radius < 24) & (h > 0)
    long_mm, short_mm = axes_mm(ring[None], (1, 1, 1))
    assert long_mm == pytest.approx(48, abs=1)
    chord = 24 * np.sin(np.arccos(16 / 24))  # beside the inner edge, along the whole height
    assert short_mm == pytest.approx(chord, abs=1.5)
    assert short_mm < 20, "the caliper's width is 24"


@pytest.mark.parametrize("seed", range(20))
def test_mirrors_and_transposes_measure_the_same(seed: int) -> None:
    draw = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(draw.random((5, 12, 12)), 1.5) > 0.5
    if seed < 5:  # symmetric shapes have many longest diameters
        mask = ellipsoid((6.0, 3.0 + seed, 3.0 + seed), (2, 1, 1))
    mask = mask if mask.any() else np.ones((1, 3, 4), bool)
    one = axes_mm(mask, (3.0, 1.7, 1.1))
    for axes in ((0,), (1,), (2,), (1, 2), (0, 1, 2)):
        assert axes_mm(np.flip(mask, axes), (3.0, 1.7, 1.1)) == pytest.approx(one, abs=1e-6)
    turned = axes_mm(mask.transpose(0, 2, 1), (3.0, 1.1, 1.7))
    assert turned == pytest.approx(one, abs=1e-6)


def rough(draw: np.random.Generator, radii: tuple[float, ...], turn: np.ndarray) -> np.ndarray:
    """Return a rough, long shape at half a millimetre; solidity as manual contours have it."""
    shape = ellipsoid(radii, (0.5, 0.5, 0.5), turn)
    noise = ndimage.gaussian_filter(draw.standard_normal(shape.shape), 6)
    within, without = (np.asarray(ndimage.distance_transform_edt(x)) for x in (shape, ~shape))
    depth = within - without
    labels, _ = ndimage.label(depth * 0.5 + 1.5 * noise / noise.std() > 0.8)  # pyright: ignore[reportGeneralTypeIssues]
    return labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1


@pytest.mark.parametrize("step", [4, 8])
def test_the_bias_on_ellipsoids_and_on_rough_long_shapes_is_below_half_a_voxel(step: int) -> None:
    """Real nodes: long over short axis 1.3 to 3.2, rough (NIH CT Lymph Nodes)."""
    draw = np.random.default_rng(0)
    errors = []
    for number in range(16):
        short = float(draw.uniform(8, 13))
        radii = (short, short * float(draw.uniform(1, 1.5)), short * float(draw.uniform(1.3, 2.4)))
        turn = Rotation.random(rng=np.random.default_rng(number)).as_matrix()
        smooth = number % 2 == 0
        fine = ellipsoid(radii, (0.5,) * 3, turn) if smooth else rough(draw, radii, turn)
        start = draw.integers(0, step, 3)
        coarse = fine[tuple(slice(s, None, step) for s in start)]
        truth, found = axes_mm(fine, (0.5,) * 3), axes_mm(coarse, (0.5 * step,) * 3)
        errors.append(np.subtract(found, truth))
    bias = np.mean(errors, 0)
    assert np.abs(bias).max() < 0.5 * step / 2, bias


@pytest.mark.parametrize("order", list(permutations((4.0, 7.0, 12.0))))
def test_axes_of_a_fine_ellipsoid_are_those_of_its_middle_slice(order: tuple[float, ...]) -> None:
    long_mm, short_mm = axes_mm(ellipsoid(order, (0.5, 0.4, 0.3)), (0.5, 0.4, 0.3))
    assert long_mm == pytest.approx(2 * max(order[1:]), abs=0.7)
    assert short_mm == pytest.approx(2 * min(order[1:]), abs=0.7)
