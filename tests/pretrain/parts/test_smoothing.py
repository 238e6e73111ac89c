"""Smoothing by sample against scipy, and the resolution that it reads back from noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.testing import assert_close

from hilum.core.seeds import torch_generator
from hilum.pretrain.parts.smoothing import smooth, texture

SPACING = (4.0, 2.0, 3.0)


def test_each_sample_is_smoothed_as_scipy_does_it() -> None:
    volume = torch.rand(2, 20, 24, 22, generator=torch_generator(0, "volume"))
    found = smooth(volume, torch.tensor([6.0, 9.0]), SPACING)
    for row, sigma in enumerate((6.0, 9.0)):
        widths = [sigma / step for step in SPACING]
        expected = ndimage.gaussian_filter(volume[row].numpy(), widths, mode="constant", truncate=6)
        # scipy samples the Gaussian, ours is its integral over a voxel: a little wider.
        assert np.abs(found[row].numpy() - expected).max() < 0.02


def test_a_point_keeps_its_mass_below_a_voxel_and_moves_by_the_shift() -> None:
    volume = torch.zeros(1, 15, 21, 17)
    volume[0, 7, 10, 8] = 5
    shift = torch.tensor([[4.0, -6.0, 1.5]])
    for sigma in (0.4, 2.5):
        moved = smooth(volume, torch.tensor([sigma]), SPACING, shift_mm=shift)[0].numpy()
        assert moved.sum() == pytest.approx(5, rel=1e-4)
        middle = (np.array(ndimage.center_of_mass(moved)) - (7, 10, 8)) * SPACING
        assert middle[:2] == pytest.approx([4, -6], abs=0.05)
        assert middle[2] == pytest.approx(1.5, abs=0.8)
        if sigma > 1:
            assert middle[2] == pytest.approx(1.5, abs=0.1)


def test_what_lies_inside_counts_alone_if_asked() -> None:
    flat = torch.full((1, 9, 9, 9), 3.0)
    assert_close(smooth(flat, torch.tensor([5.0]), SPACING, inside=True), flat)
    assert float(smooth(flat, torch.tensor([5.0]), SPACING)[0, 0, 0, 0]) < 1


@pytest.mark.parametrize("sigma", [2.0, 3.0])
def test_the_width_and_the_variance_of_noise_are_read_back(sigma: float) -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 1, (40, 40, 40))
    seen = ndimage.gaussian_filter(noise, sigma / 2.0, mode="wrap")
    ramp = np.linspace(0, 2, 40)[:, None, None]
    volume = torch.tensor(np.stack([seen / seen.std() * 0.3 + ramp] * 2), dtype=torch.float32)
    counted = torch.ones(2, 40, 40, 40, dtype=torch.bool)
    counted[1] = False
    width, variance = texture(volume, counted, (2.0, 2.0, 2.0))
    assert float(width[0]) == pytest.approx(sigma, rel=0.12)
    assert float(variance[0]) == pytest.approx(0.09, rel=0.2)
    assert float(variance[1]) == 0
    assert torch.isfinite(width).all()
