"""Uptake of tissue and liver, and noise, of phantoms whose values are known."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.core.geometry import Grid
from hilum.datasets.check.uptake import uptake_facts
from hilum.datasets.io.nifti import Volume

GRID = Grid.from_spacing((12, 24, 24), (3, 3, 3))


def patient(grid: Grid = GRID) -> tuple[np.ndarray, np.ndarray]:
    """Return a CT and a PET of a body of 0.8 SUV."""
    ct, pet = np.full(grid.shape, -1000.0), np.zeros(grid.shape)
    h, w = grid.shape[1] // 6, grid.shape[2] // 6
    ct[:, h:-h, w:-w], pet[:, h:-h, w:-w] = 50, 0.8
    return ct, pet


@pytest.mark.parametrize("tumour", [0.05, 0.3, 0.45])
def test_a_large_hot_tumour_is_not_the_body(tumour: float) -> None:
    ct, pet = patient()
    pet[:, 4:-4, 4 : 4 + round(16 * tumour)] = 12
    facts = uptake_facts({"ct": Volume(ct, GRID), "pet": Volume(pet, GRID)})
    assert facts["pet"]["body_median"] == pytest.approx(0.8)
    assert set(facts) == {"pet"}


@pytest.mark.parametrize("with_ct", [True, False])
@pytest.mark.parametrize("scale", [1, 0.1, 7])
@pytest.mark.parametrize("sd", [0.02, 0.1, 0.2])
@pytest.mark.parametrize("spacing", [(3, 3, 3), (4, 5.5, 5.5), (2, 1.5, 1.5)])
def test_noise_is_the_standard_deviation_over_the_median_whatever_the_scale_and_the_grid(
    with_ct: bool, scale: float, sd: float, spacing: tuple[float, float, float]
) -> None:
    grid = Grid.from_spacing((20, 60, 60), spacing)
    ct, pet = patient(grid)
    # A slope and an organ are no noise.
    pet[:, 10:-10, 10:-10] += np.linspace(0, 0.1, 40)
    pet[5:15, 20:30, 20:30] += 2
    pet += np.random.default_rng(1).normal(0, sd, grid.shape)
    volumes = {"pet": Volume(pet * scale, grid)} | ({"ct": Volume(ct, grid)} if with_ct else {})
    found = uptake_facts(volumes)["pet"]
    median = float(np.median(pet[ct > 0])) if with_ct else found["body_median"] / scale
    assert found["noise"] == pytest.approx(sd / median, rel=0.12)


def test_a_blurred_pet_has_the_noise_of_voxels_that_share_none() -> None:
    # A box of 3 x 3 voxels of 2 mm: neighbours 8 mm apart share nothing, and noise is a third.
    grid = Grid.from_spacing((10, 120, 120), (2, 2, 2))
    ct, pet = patient(grid)
    draw = np.random.default_rng(2).normal(0, 0.3, (10, 122, 122))
    blurred = sum(draw[:, i : i + 120, j : j + 120] for i in range(3) for j in range(3)) / 9
    facts = uptake_facts({"ct": Volume(ct, grid), "pet": Volume(pet + blurred, grid)})
    assert facts["pet"]["noise"] == pytest.approx(0.1 / 0.8, rel=0.1)


def test_the_liver_is_measured_where_the_mask_of_organs_has_it_on_any_grid() -> None:
    ct, pet = patient()
    pet[2:10, 14:20, 5:11] = 2.2
    fine = GRID.with_spacing((1.5, 1.5, 1.5))
    organs = np.zeros(fine.shape, np.uint8)
    organs[4:20, 28:40, 10:22] = 5
    volumes = {"ct": Volume(ct, GRID), "pet": Volume(pet, GRID)}
    found = uptake_facts(volumes, Volume(organs, fine), 5)["pet"]
    assert found["liver_median"] == pytest.approx(2.2)
    assert "liver_median" not in uptake_facts(volumes, Volume(organs, fine), 0)["pet"]
    assert "liver_median" not in uptake_facts(volumes, Volume(organs, fine), 6)["pet"]


def test_too_little_tissue_has_no_noise() -> None:
    grid = Grid.from_spacing((3, 3, 3), (3, 3, 3))
    found = uptake_facts({"pet": Volume(np.ones(grid.shape), grid)})
    assert found == {"pet": {"body_median": 1.0}}
