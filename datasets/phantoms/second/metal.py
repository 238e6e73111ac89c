"""Streaks of metal in a CT: a hardened beam and too few photons, by way of the sinogram."""

from __future__ import annotations

import numpy as np

from hilum.core.geometry import Grid

from ..canvas import Floats

_ANGLES = 120
_PER_MM = 0.0195
"""Attenuation of water at the mean energy of a CT."""
_METAL = 12.0
"""Attenuation of metal over that of water."""
_HARDENING = 0.05
"""Share of the product of metal's and all attenuation that is not seen."""
_LEAST = 0.05
"""Slices with less metal than this have no streaks."""
_GREATEST_HU = 900.0


def streaks(hu: Floats, metal: Floats, grid: Grid) -> Floats:
    r"""Return what metal adds to a CT, `[D, H, W]`: dark bands and stars around it.

    In each slice the error of the sinogram, $-b m (m + t)$ with the attenuation $m$ of metal and
    $t$ of tissue along a ray, is reconstructed by filtered back-projection (parallel rays, ramp
    filter). Inside of metal nothing is added.

    Source:
        Hsieh, "Computed Tomography", 2nd edition 2009, section 7.6 (second-order beam hardening).
    """
    result = np.zeros_like(hu)
    step = float(np.mean(grid.spacing[1:]))
    for number in np.flatnonzero(metal.max((1, 2)) > _LEAST):
        tissue = np.clip(hu[number] / 1000 + 1, 0, 2) * np.float32(_PER_MM * step)
        dense = metal[number] * np.float32(_METAL * _PER_MM * step)
        rays = [_project(part) for part in (tissue, dense)]
        error = -_HARDENING * rays[1] * (rays[0] + rays[1])
        found = _back(_ramp(error), hu.shape[1:]) / (_PER_MM * step) * 1000
        result[number] = np.clip(found, -_GREATEST_HU, _GREATEST_HU) * (1 - metal[number])
    return result


def _bins(shape: tuple[int, ...]) -> tuple[Floats, int]:
    """Return which ray of each angle a pixel lies on `[A, H * W]`, and how many rays there are."""
    height, width = shape
    angle = np.arange(_ANGLES) * np.pi / _ANGLES
    y, x = np.mgrid[:height, :width].reshape(2, -1) - np.array([[height / 2], [width / 2]])
    count = int(np.ceil(np.hypot(height, width))) + 4
    place = np.cos(angle)[:, None] * x + np.sin(angle)[:, None] * y + count / 2
    return place.astype(np.float32), count


def _project(image: Floats) -> Floats:
    place, count = _bins(image.shape)
    low = place.astype(np.int64)
    part = place - low
    row = np.arange(_ANGLES)[:, None] * count
    flat = image.ravel()
    total = np.zeros(_ANGLES * count)
    for index, weight in ((low, 1 - part), (low + 1, part)):
        total += np.bincount(
            (index + row).ravel(), (weight * flat).ravel(), minlength=_ANGLES * count
        )
    return total.reshape(_ANGLES, count).astype(np.float32)


def _ramp(rays: Floats) -> Floats:
    """Filter each angle by the ramp of Ram and Lak, sampled in space so that its mean is right.

    Times a Hann window, as smooth kernels have it, so that few angles leave no rays far away.
    """
    count = rays.shape[1]
    size = 2 ** int(np.ceil(np.log2(2 * count)))
    place = np.fft.fftfreq(size, 1 / size)
    odd = np.abs(place) % 2 == 1
    kernel = np.where(odd, -1 / (np.pi * np.where(odd, place, 1)) ** 2, 0.0)
    kernel[0] = 0.25
    window = 0.5 + 0.5 * np.cos(np.pi * np.linspace(0, 1, size // 2 + 1))
    spectrum = np.fft.rfft(rays, size, axis=1) * np.fft.rfft(kernel) * window
    return np.fft.irfft(spectrum, size, axis=1)[:, :count].astype(np.float32)


def _back(rays: Floats, shape: tuple[int, ...]) -> Floats:
    place, _ = _bins(shape)
    low = place.astype(np.int64)
    part = place - low
    first = np.take_along_axis(rays, low, 1)
    second = np.take_along_axis(rays, low + 1, 1)
    return ((first + part * (second - first)).sum(0) * np.pi / _ANGLES).reshape(shape)
