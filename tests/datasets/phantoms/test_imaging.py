"""The phantoms' scanners blur, count and displace exactly as they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import curve_fit

from hilum.core.geometry import Grid
from hilum.datasets.phantoms.imaging import (
    SCANNERS,
    Misregistration,
    blurred,
    draw_misregistration,
    image_ct,
    image_pet,
    pet_grid,
)

CT = Grid.from_spacing((46, 52, 58), (2.0, 1.9, 1.7), (-49.3, -48.45, 100.0))
QUIET = replace(SCANNERS["a"], counts=float("inf"), suv_spread=0.0)
FWHM = np.sqrt(8 * np.log(2))
STILL = Misregistration((0, 0, 0), 0, 0, 50)


@pytest.mark.parametrize("counts", [float("inf"), 1e6])
@pytest.mark.parametrize("fwhm", [5.0, 6.0, 7.0])
def test_a_point_source_gets_the_asked_width(fwhm: float, counts: float) -> None:
    pet, grid = picture_of_a_point(fwhm, STILL, counts)
    for axis in range(3):
        profile = pet.sum(tuple({0, 1, 2} - {axis})).astype(float)
        place = np.arange(len(profile)) * grid.spacing[axis]
        middle = (profile * place).sum() / profile.sum()
        variance = (profile * (place - middle) ** 2).sum() / profile.sum()
        assert np.sqrt(variance) * FWHM == pytest.approx(fwhm, rel=0.02)
        # The smoothing on the voxels leaves a slightly pointed shape.
        (_, _, sigma), _ = curve_fit(gaussian, place, profile, (profile.max(), middle, 3))
        assert abs(sigma) * FWHM == pytest.approx(fwhm, rel=0.07)


def test_the_point_is_seen_where_the_vector_says() -> None:
    move = Misregistration((4.0, -3.0, 2.0), 5.0, 130.0, 40.0)
    pet, grid = picture_of_a_point(6.0, move)
    world = CT.to_world((23, 26, 29))
    index = np.array([(pet * axis).sum() / pet.sum() for axis in np.indices(pet.shape)])
    z = world[2]
    by_hand = (4, -3, 2 + 5 * np.exp(-(((z - 130) / 40) ** 2) / 2))
    assert grid.to_world(index) - world == pytest.approx(by_hand, abs=0.35)
    assert move.at(world) == pytest.approx(by_hand)


def test_breathing_is_strongest_at_the_diaphragm_and_the_shift_is_everywhere() -> None:
    move = Misregistration((1.0, 2.0, 3.0), -6.0, 300.0, 50.0)
    places = np.array([[0, 0, 300.0], [90, 9, 350.0], [0, 0, 900.0]])
    assert move.at(places)[:, 2] == pytest.approx([-3, 3 - 6 * np.exp(-0.5), 3])
    assert (move.at(places)[:, :2] == [1, 2]).all()


def test_uniform_tracer_stays_uniform_under_breathing() -> None:
    move = Misregistration((1.0, 2.0, 3.0), 6.0, 140.0, 30.0)
    seen = blurred(np.full(CT.shape, 2.5, "f4"), CT, pet_grid(CT, (3.5, 4, 4)), move, 2.5)
    assert seen == pytest.approx(np.full(seen.shape, 2.5), rel=1e-4)


def test_tissue_never_folds_however_far_it_moves() -> None:
    for key in range(30):
        move = draw_misregistration(np.random.default_rng(key), 20.0, 300.0, 0.5)
        z = np.linspace(0, 700, 1000)
        places = z + move.at(np.column_stack([z * 0, z * 0, z]))[:, 2]
        assert (np.diff(places) > 0).all()


def test_the_scale_of_the_misregistration_is_kept() -> None:
    drawn = [draw_misregistration(np.random.default_rng(key), 6.0, 300, 0.7) for key in range(200)]
    lengths = [np.linalg.norm(move.shift_mm) for move in drawn]
    breathing = [move.breathing_mm for move in drawn]
    assert np.mean(lengths) == pytest.approx(3.0, rel=0.1)
    assert np.mean(np.abs(breathing)) == pytest.approx(6.0, rel=0.1)
    assert 0.3 < np.mean(np.array(breathing) > 0) < 0.7
    none = draw_misregistration(np.random.default_rng(0), 0.0, 300, 0.7)
    assert (none.at(np.zeros((4, 3))) == 0).all()


def test_noise_is_poisson_and_leaves_the_mean() -> None:
    grid = pet_grid(CT, (3.5, 4.0, 4.0))
    level = {}
    for suv in (1.0, 4.0):
        noisy = image_pet(
            np.full(CT.shape, suv, "f4"),
            CT,
            grid,
            STILL,
            replace(SCANNERS["a"], suv_spread=0.0),
            np.random.default_rng(1),
        )
        assert noisy.mean() == pytest.approx(suv, rel=0.02)
        level[suv] = noisy.std() / suv
    assert level[1.0] / level[4.0] == pytest.approx(2.0, rel=0.1), "as the root of the counts"
    assert 0.03 < level[1.0] < 0.25


def test_the_bias_and_spread_of_a_scanner_scale_every_suv() -> None:
    scanner = replace(SCANNERS["b"], counts=float("inf"), suv_bias=0.8, suv_spread=0.1)
    grid = pet_grid(CT, scanner.pet_spacing)
    flat = np.ones(CT.shape, "f4")
    means = [
        image_pet(flat, CT, grid, STILL, scanner, np.random.default_rng(key)).mean()
        for key in range(60)
    ]
    assert np.median(means) == pytest.approx(0.8, abs=0.05)
    assert np.std(np.log(means)) == pytest.approx(0.1, rel=0.3)


def test_the_pet_grid_covers_the_ct_without_sharing_its_voxels() -> None:
    grid = pet_grid(CT, (3.5, 4.0, 4.0))
    assert grid.spacing == pytest.approx((3.5, 4.0, 4.0))
    assert CT.overlap(grid) > 0.9
    offset = CT.to_index(grid.to_world((0, 0, 0)))
    assert (np.abs(offset - np.round(offset)) > 1e-3).any()


def test_ct_noise_has_the_asked_level_and_whole_values() -> None:
    hu = np.full(CT.shape, 40.0, "f4")
    seen = image_ct(hu, CT, SCANNERS["a"], np.random.default_rng(0))
    assert seen.dtype == np.float32
    assert np.array_equal(seen, np.round(seen))
    assert seen.std() == pytest.approx(SCANNERS["a"].ct_noise, rel=0.1)
    assert seen.mean() == pytest.approx(40, abs=1)
    assert np.corrcoef(seen[:, :, 1:].ravel(), seen[:, :, :-1].ravel())[0, 1] > 0.3


def test_the_ct_is_noisier_where_the_body_is_thick() -> None:
    hu = np.full(CT.shape, -1000.0, "f4")
    hu[:, 20:32, 20:38] = 40
    hu[23:, 8:44, 8:50] = 40
    seen = image_ct(hu, CT, SCANNERS["a"], np.random.default_rng(0))
    middle = np.s_[24:28, 24:34]
    assert seen[30:][(slice(None), *middle)].std() > 1.3 * seen[:18][(slice(None), *middle)].std()


def picture_of_a_point(
    fwhm: float, move: Misregistration, counts: float = float("inf")
) -> tuple[np.ndarray, Grid]:
    """Return the PET of one bright voxel in the middle, finely sampled."""
    tracer = np.zeros(CT.shape, "f4")
    tracer[23, 26, 29] = 1000
    grid = pet_grid(CT, (3.0, 3.2, 3.4))
    scanner = replace(QUIET, fwhm_mm=fwhm, counts=counts)
    return image_pet(tracer, CT, grid, move, scanner, np.random.default_rng(0)), grid


def gaussian(x: np.ndarray, height: float, middle: float, sigma: float) -> np.ndarray:
    return height * np.exp(-(((x - middle) / sigma) ** 2) / 2)
