"""Intensity operations do what their unit says: SUV keep their zero, windows saturate."""

from __future__ import annotations

import numpy as np
import torch
from numpy.testing import assert_allclose
from scipy import ndimage
from torch.testing import assert_close

from hilum.core.modality import modality
from hilum.datasets.augmentation.intensity import (
    blur,
    count_noise,
    low_resolution,
    tone,
    window_noise,
)

SPACING = (3.0, 2.0, 1.5)
CT = modality("ct")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_blurred_point_has_the_asked_width_along_every_axis() -> None:
    point = torch.zeros(31, 41, 51)
    point[15, 20, 25] = 1
    spread = blur(point, 8.0, SPACING).double().numpy()
    assert_allclose(spread.sum(), 1, rtol=1e-5)
    for axis, size in enumerate(SPACING):
        profile = spread.sum(tuple(other for other in range(3) if other != axis))
        place = (np.arange(len(profile)) - len(profile) // 2) * size
        assert_allclose(2.3548 * np.sqrt((profile * place**2).sum()), 8, rtol=0.01)
        line = np.moveaxis(spread, axis, 0)[
            (slice(None), *(n // 2 for n in np.delete(spread.shape, axis)))
        ]
        assert_allclose(np.interp([-4, 4], place, line) / line.max(), 0.5, atol=0.03)


def test_blur_equals_scipy_away_from_the_edge() -> None:
    image = torch.randn(24, 26, 30, generator=generator())
    found = blur(image, 5.0, SPACING).numpy()
    sigma = [5.0 / 2.3548 / s for s in SPACING]
    expected = ndimage.gaussian_filter(image.numpy(), sigma, truncate=6)
    core = (slice(5, -5), slice(6, -6), slice(8, -8))
    assert_allclose(found[core], expected[core], atol=2e-3)


def test_blur_and_low_resolution_keep_a_constant() -> None:
    image = torch.full((9, 10, 11), 7.5)
    assert_close(blur(image, 6.0, SPACING), image)
    assert_close(low_resolution(image, 0.6), image)


def test_low_resolution_loses_detail_and_keeps_the_mean() -> None:
    image = torch.randn(16, 20, 24, generator=generator())
    coarse = low_resolution(image, 0.5)
    assert float(coarse.std()) < 0.5 * float(image.std())
    assert_allclose(float(coarse.mean()), float(image.mean()), atol=0.01)
    assert torch.equal(low_resolution(image, 1.0), image)


def test_window_noise_has_the_asked_deviation() -> None:
    image = torch.full((30, 40, 50), 20.0)
    noise = window_noise(image, CT, 0.05, generator()) - image
    assert_allclose(float(noise.std()), 0.05 * 400, rtol=0.02)
    assert abs(float(noise.mean())) < 0.5


def test_count_noise_grows_with_the_root_of_uptake_and_spares_zero() -> None:
    image = torch.zeros(3, 30, 40, 50)
    image[1], image[2] = 4.0, 16.0
    level, grain = 0.1, 4.0
    noisy = [count_noise(x, level, grain, SPACING, generator(i)) for i, x in enumerate(image)]
    assert not noisy[0].any()
    assert_allclose(float(noisy[1].std()), 0.2, rtol=0.05)
    assert_allclose(float(noisy[2].std()), 0.4, rtol=0.05)
    assert float(count_noise(image[1], 5.0, 0.0, SPACING, generator()).min()) == 0
    white = count_noise(image[1], level, 0.0, SPACING, generator())
    assert abs(neighbours(white)) < 0.05
    assert neighbours(noisy[1]) > 0.5


def neighbours(image: torch.Tensor) -> float:
    """Return the correlation of a voxel with the next one along the last axis."""
    return float(np.corrcoef(image[..., 1:].flatten(), image[..., :-1].flatten())[0, 1])


def test_tone_without_change_only_saturates() -> None:
    image = torch.linspace(-1000, 1000, 60).view(3, 4, 5)
    assert_close(tone(image, CT), image.clamp(CT.low, CT.high), atol=1e-3, rtol=0)


def test_tone_equals_its_formulas() -> None:
    image = torch.tensor([[[-160.0, -60.0, 40.0, 140.0, 240.0]]])

    def changed(**strengths: float) -> list[float]:
        return [round(v, 2) for v in tone(image, CT, **strengths)[0, 0].tolist()]  # pyright: ignore

    assert changed(contrast=0.5) == [-60, -10, 40, 90, 140]
    assert changed(contrast=2.0) == [-160, -160, 40, 240, 240]
    assert changed(brightness=0.1) == [-120, -20, 80, 180, 240]
    assert changed(gamma=2.0) == [-160, -135, -60, 65, 240]
    inverted = tone(image, CT, gamma=2.0, inverted=True)[0, 0].tolist()
    assert [round(v, 2) for v in inverted] == [-160, 15, 140, 215, 240]
