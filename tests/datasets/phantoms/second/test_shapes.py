"""Shapes of the second edition: the formula voxel by voxel, and the statistics of real nodes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hilum.datasets.phantoms.second.shapes import Lobed, draw_lobed
from hilum.datasets.phantoms.shape_statistics import REAL, REAL_LONG_SHARE


def plain(**more: object) -> Lobed:
    parts = {
        "axes_mm": np.array([12.0, 16.0, 28.0]),
        "turn": np.eye(3),
        "bend": 0.0,
        "lobes": np.array([[0.0, 0, 0, 1]]),
        "waves": np.zeros((1, 3)),
        "phases": np.zeros(1),
        "heights": np.zeros(1),
    }
    return Lobed(**(parts | more))  # type: ignore[arg-type]


def grid(reach: float, step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    line = np.arange(-reach, reach + step / 2, step).astype("f4")
    return line[None, None, :], line[None, :, None], line[:, None, None]


def volume(shape: Lobed, step: float = 1.0) -> float:
    return float((shape.form(grid(shape.reach_mm, step), 12.0)[0] < 1).sum()) * step**3


def test_without_bend_waves_and_lobes_it_is_an_ellipsoid() -> None:
    assert volume(plain()) == pytest.approx(math.pi / 6 * 12 * 16 * 28, rel=0.02)
    form, own = plain().form(grid(16, 1.0), 12.0)
    # On the short axis the form is 1 plus the distance to the surface in half short axes.
    line = form[16, 16]
    assert line[16 + 9] == pytest.approx(1 + (9 - 6) / 6, abs=0.05)
    assert own[2][16 + 14, 16, 16] == pytest.approx(1)


def test_bending_moves_the_ends_and_keeps_the_volume() -> None:
    bent = plain(bend=4.0)
    assert volume(bent) == pytest.approx(volume(plain()), rel=0.02)
    x, y, z = grid(bent.reach_mm, 1.0)
    inside = bent.form((x, y, z), 12.0)[0] < 1
    end, middle = abs(z) > 11, abs(z) < 3
    at = [(inside & part).nonzero()[2].mean() for part in (end, middle)]
    assert at[0] - at[1] > 2


def test_the_form_is_the_formula_voxel_by_voxel() -> None:
    rng = np.random.default_rng(5)
    shape = draw_lobed(rng, 14.0)
    for place in ((3.0, -2.0, 5.0), (-6.0, 1.0, 0.5), (1.0, 7.0, -8.0)):
        found = slow_value(shape, np.array(place))
        # Around one place, so that the gradient is the formula's own.
        step = 0.02
        x, y, z = (np.float32(p) + np.array([-step, 0, step], "f4") for p in place)
        form, _ = shape.form((x[None, None, :], y[None, :, None], z[:, None, None]), 14.0)
        assert (form[1, 1, 1] < 1) == (found < 1)
        slope = [
            (slow_value(shape, np.array(place) + s) - slow_value(shape, np.array(place) - s)) / 0.02
            for s in np.eye(3) * 0.01
        ]
        distance = (found - 1) / max(float(np.linalg.norm(slope)), 0.3 / (shape.axes_mm.max() / 2))
        assert float(form[1, 1, 1]) == pytest.approx(1 + distance / 7, rel=0.05, abs=0.02)


def slow_value(shape: Lobed, place: np.ndarray) -> float:
    own = shape.turn @ place
    half = shape.axes_mm / 2
    own[0] -= shape.bend * ((own[2] / half[2]) ** 2 - 0.2)
    lengths = [float(np.linalg.norm(own / half - lobe[:3])) / lobe[3] for lobe in shape.lobes]
    merged = -math.log(sum(math.exp(-9 * one) for one in lengths)) / 9
    field = sum(
        h * math.cos(float(k @ place) + p)
        for k, p, h in zip(shape.waves, shape.phases, shape.heights, strict=True)
    )
    return merged * math.exp(field)


def test_matted_groups_are_one_body_that_fills_little_of_its_ellipsoid() -> None:
    lobes = np.array([[-0.8, 0, 0, 1.0], [0.8, 0, 0, 1.0]])
    matted = plain(lobes=lobes, axes_mm=np.array([16.0, 16.0, 16.0]))
    one = volume(plain(axes_mm=np.array([16.0, 16.0, 16.0])))
    assert 1.6 * one < volume(matted) < 2.05 * one


def test_drawn_shapes_have_the_statistics_of_real_nodes() -> None:
    """Percentiles by moments that this test works out itself, of shapes that nothing moulds."""
    rng = np.random.default_rng(0)
    long, solid, edge = [], [], 0
    for _ in range(160):
        shape = draw_lobed(rng, 15.0)
        step = shape.reach_mm / 16
        inside = shape.form(grid(shape.reach_mm, step), 15.0)[0] < 1
        edge += inside[0].any() or inside[-1].any() or inside[:, 0].any() or inside[..., 0].any()
        moments = np.linalg.eigvalsh(np.cov(np.argwhere(inside).T * step))
        long.append(math.sqrt(moments[2] / moments[0]))
        ellipsoid = 4 / 3 * math.pi * math.prod(math.sqrt(5 * m) for m in moments)
        solid.append(inside.sum() * step**3 / ellipsoid)
    assert np.median(long) == pytest.approx(REAL["elongation"][1], abs=0.15)
    assert np.percentile(long, 95) == pytest.approx(REAL["elongation"][2], abs=0.7)
    assert np.mean(np.array(long) > 2) == pytest.approx(REAL_LONG_SHARE, abs=0.12)
    # Vessels and voxels take a little more of painted ones: see benchmarks/phantom_shapes.py.
    assert REAL["solidity"][1] < np.median(solid) < 0.97
    assert edge <= 3
