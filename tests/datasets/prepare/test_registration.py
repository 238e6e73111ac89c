"""A scan that was moved by a known turn and shift is put back, or left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from hilum.core.case import Case
from hilum.core.geometry import Grid
from hilum.datasets.io.nifti import Volume, write_volume
from hilum.datasets.io.resampling import resample
from hilum.datasets.prepare.case import PrepareSettings, prepare_case
from hilum.datasets.prepare.registration import placed, register

pytest.importorskip("SimpleITK")


@pytest.fixture(scope="module")
def pair() -> tuple[Volume, Volume]:
    """Return CT and PET of a lopsided trunk with lungs, spine and liver."""
    grid = Grid.from_spacing((40, 44, 60), (5, 5, 5), (-150, -110, -100))
    d, h, w = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")

    def ball(centre: tuple[float, ...], radius: tuple[float, ...]) -> np.ndarray:
        parts = zip((d, h, w), centre, radius, strict=True)
        return np.asarray(sum(((x - c) / r) ** 2 for x, c, r in parts) < 1)

    body = ball((20, 22, 30), (18, 15, 22))
    ct, suv = np.full(grid.shape, -1000.0), np.zeros(grid.shape)
    ct[body], suv[body] = 40, 0.8
    for part, hu, uptake in (
        (ball((24, 22, 20), (9, 8, 6)), -800, 0.3),
        (ball((25, 20, 40), (8, 8, 6)), -800, 0.3),
        (ball((10, 20, 38), (6, 7, 9)), 60, 2.2),
        (ball((20, 11, 30), (16, 2.5, 3)), 400, 1.2),
    ):
        ct[part & body], suv[part & body] = hu, uptake
    noise = np.random.default_rng(0).normal(0, 10, grid.shape)
    coarse = Grid.from_spacing((46, 50, 68), (4.6, 4.6, 4.6), (-156, -114, -104))
    pet = resample(ndimage.gaussian_filter(suv, 0.6).astype(np.float32), grid, coarse)
    return Volume((ct + noise).astype(np.float32), grid), Volume(pet, coarse)


def motion(degrees: float, shift: tuple[float, float, float]) -> np.ndarray:
    """Turn about the body axis, then shift, in RAS mm."""
    angle, matrix = np.deg2rad(degrees), np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = shift
    return matrix


def farthest(one: np.ndarray, grid: Grid) -> float:
    """Return how far a motion takes any corner of the middle half of a volume, in mm."""
    ends = [(n / 4, 3 * n / 4) for n in grid.shape]
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), -1).reshape(-1, 3)
    world = np.c_[grid.to_world(corners), np.ones(8)]
    return float(np.linalg.norm((world @ one.T - world)[:, :3], axis=1).max())


@pytest.mark.parametrize(
    ("degrees", "shift"), [(0, (0, 0, 0)), (5, (12, -8, 10)), (-4, (0, 9, -14))]
)
def test_a_known_motion_is_undone_to_within_3_mm(
    pair: tuple[Volume, Volume], degrees: float, shift: tuple[float, float, float]
) -> None:
    ct, pet = pair
    away = motion(degrees, shift)
    found = register(ct, placed(pet, away), tissue=True)
    assert farthest(found.matrix @ away, pet.grid) < 3
    assert found.after >= found.before - 1e-6
    again = register(ct, placed(pet, away), tissue=True)
    assert np.array_equal(again.matrix, found.matrix), "the same scans give the same result"


def test_prepare_moves_a_scan_and_records_how(pair: tuple[Volume, Volume], tmp_path: Path) -> None:
    ct, pet = pair
    off = placed(pet, motion(0, (15, 0, 12)))
    for name, volume in (("ct", ct), ("pet", off)):
        write_volume(tmp_path / f"{name}.nii", volume.array, volume.grid)
    case = Case("a", "a", {name: tmp_path / f"{name}.nii" for name in ("ct", "pet")})
    settings = {"body_crop": False}
    true = resample(pet.array, pet.grid, ct.grid)

    def error(**more: object) -> tuple[float, object]:
        prepared = prepare_case(case, PrepareSettings.model_validate({**settings, **more}))
        return float(np.abs(prepared.images[1] - true).mean()), prepared

    before, _ = error()
    after, prepared = error(registration="rigid")
    assert after < 0.35 * before
    assert any("registered, pet" in note.text for note in prepared.notes)  # pyright: ignore
    assert set(prepared.moved) == {"pet"}  # pyright: ignore
    kept, prepared = error(registration="rigid", registration_limit=5.0)
    assert kept == before
    assert any("not registered (beyond 5 mm" in note.text for note in prepared.notes)  # pyright: ignore
    assert prepared.moved == {}  # pyright: ignore
