"""What the scanners of the second edition do, against formulas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hilum.core.geometry import Grid
from hilum.datasets.phantoms.imaging import SCANNERS, Misregistration, pet_grid
from hilum.datasets.phantoms.second.acquisition import Acquisition
from hilum.datasets.phantoms.second.metal import streaks
from hilum.datasets.phantoms.second.scanners import (
    RECONSTRUCTIONS,
    image_ct,
    image_pet,
    on_grid,
    positions,
    sensitivity,
)

STILL = Acquisition("up", "plain", 0.0, "none", 0.0, (0.0, 0.0, 0.0))
MOVE = Misregistration((2.0, -1.0, 3.0), 4.0, 10.0, 60.0)
HERE = Grid.from_spacing((30, 36, 40), (3.0, 3.0, 3.0))


def water() -> np.ndarray:
    _, y, x = np.ogrid[:30, :36, :40]
    inside = ((y - 18) / 14) ** 2 + ((x - 20) / 17) ** 2 < 1
    return np.where(np.broadcast_to(inside, HERE.shape), 0, -1000).astype("f4")


def test_the_mean_of_the_breathing_is_the_misregistration_of_the_truth() -> None:
    moving = replace(STILL, breathing_mm=6.0, jump_mm=(2.0, 0.0, -1.0))
    places = np.array([[0.0, 0, 10], [5, 5, 60], [0, 0, -90]])
    found = [move.at(places) for move in positions(MOVE, moving)]
    assert np.mean(found, 0) == pytest.approx(MOVE.at(places), abs=1e-9)
    assert np.ptp(np.array(found)[:, 0, 2]) > 4
    assert positions(MOVE, STILL) == [MOVE]


def test_breathing_widens_a_point_along_the_body_by_its_variance() -> None:
    quiet = replace(SCANNERS["a"], counts=0.0, suv_spread=0.0)
    tracer = np.zeros(HERE.shape, "f4")
    tracer[15, 18, 20] = 100
    pet = pet_grid(HERE, (2.0, 2.0, 2.0))
    centre = HERE.to_world(np.array([15, 18, 20]))
    move = Misregistration((0.0, 0.0, 0.0), 0.0, float(centre[2]), 500.0)
    moving = replace(STILL, breathing_mm=8.0)
    widths = []
    for acquisition in (STILL, moving):
        seen = image_pet(
            tracer, water(), HERE, pet, move, acquisition, quiet, RECONSTRUCTIONS["a"],
            np.random.default_rng(0),
        )  # fmt: skip
        line = seen.sum((1, 2))
        z = np.arange(len(line)) * 2.0
        mean = (line * z).sum() / line.sum()
        widths.append((line * (z - mean) ** 2).sum() / line.sum())
    breaths = np.array([one.breathing_mm for one in positions(move, moving)])
    assert widths[1] - widths[0] == pytest.approx(breaths.var(), rel=0.1)


def test_counts_fall_with_thickness_and_rise_with_time_of_flight() -> None:
    old, new = RECONSTRUCTIONS["d"], RECONSTRUCTIONS["c"]
    thick = np.array([150.0, 230.0, 350.0])
    assert sensitivity(thick, old) == pytest.approx(np.exp(-0.0096 * (thick - 230) / 2), rel=1e-3)
    # 210 ps are 31.5 mm: 230 / (1.6 * 31.5).
    assert sensitivity(thick, new)[1] == pytest.approx(230 / (1.6 * 31.48), rel=0.01)


def test_noise_follows_the_counts() -> None:
    scanner = replace(SCANNERS["a"], suv_spread=0.0)
    tracer = np.full(HERE.shape, 2.0, "f4")
    pet = pet_grid(HERE, (4.0, 4.0, 4.0))
    spread = {}
    for name in ("c", "d"):
        seen = image_pet(
            tracer, water(), HERE, pet, MOVE, STILL, scanner, RECONSTRUCTIONS[name],
            np.random.default_rng(1),
        )  # fmt: skip
        spread[name] = float(seen[6:-6, 8:-8, 8:-8].std())
        assert seen[6:-6, 8:-8, 8:-8].mean() == pytest.approx(2, rel=0.03)
    area = (water() > -500).sum((1, 2))[0] * 9.0
    diameter = 2 * np.sqrt(area / np.pi)
    gain = max(1, diameter / (1.6 * 0.2998 * 210 / 2))
    assert spread["d"] / spread["c"] == pytest.approx(np.sqrt(gain), rel=0.15)


def test_a_sharp_kernel_overshoots_and_a_grid_keeps_means() -> None:
    edge = np.full(HERE.shape, -100, "f4")
    edge[:, :, 20:] = 50
    silent = replace(SCANNERS["c"], ct_noise=0.0)
    seen = {
        name: image_ct(
            edge, HERE, HERE, silent, RECONSTRUCTIONS[name], None, np.random.default_rng(0)
        )
        for name in ("a", "c")
    }
    assert seen["c"].max() > 55 > seen["a"].max()
    assert seen["c"][:, :, 30:-2].mean() == pytest.approx(50, abs=1)
    coarse = HERE.with_spacing((4.0, 3.6, 3.6))
    noise = np.random.default_rng(0).normal(0, 1, HERE.shape).astype("f4") + 7
    assert on_grid(noise, HERE, coarse, 1.0).mean() == pytest.approx(7, abs=0.05)


def test_metal_darkens_the_line_between_two_pieces_and_nothing_without_it() -> None:
    hu, metal = water(), np.zeros(HERE.shape, "f4")
    metal[12, 18, [13, 27]] = 1.0
    found = streaks(hu, metal, HERE)
    assert not found[:11].any()
    assert not found[14:].any()
    between, across = found[12, 18, 17:24].mean(), found[12, 10:14, 20].mean()
    assert between < -10
    assert between < across - 10
    assert not found[12, 18, 13]
    assert not streaks(hu, np.zeros_like(metal), HERE).any()
