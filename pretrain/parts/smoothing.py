"""Gaussian smoothing whose width differs by sample, as one matrix product per axis."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hilum.core.geometry import Triple


def smooth(
    volume: Tensor,
    sigma_mm: Tensor,
    spacing: Triple,
    *,
    shift_mm: Tensor | None = None,
    inside: bool = False,
) -> Tensor:
    """Return volumes smoothed by a Gaussian, and moved.

    The weight of a voxel is the Gaussian's integral over it, so that widths below a voxel lose
    nothing.

    Args:
        volume: `[B, D, H, W]`, or with more axes behind `B`.
        sigma_mm: Standard deviation of each sample `[B]`, above 0.
        spacing: mm along depth, height, width.
        shift_mm: By how much to move each sample along depth, height, width `[B, 3]`.
        inside: Whether weights count inside the volume only; else all around is 0.
    """
    for axis in range(3):
        shift = None if shift_mm is None else shift_mm[:, axis]
        matrix = _matrix(volume.shape[axis - 3], spacing[axis], sigma_mm, shift, inside)
        rows = volume.movedim(axis - 3, -1)
        flat = rows.reshape(len(volume), -1, rows.shape[-1])
        volume = torch.bmm(flat, matrix.mT).reshape(rows.shape).movedim(-1, axis - 3)
    return volume


def _matrix(side: int, step: float, sigma: Tensor, shift: Tensor | None, inside: bool) -> Tensor:
    """Return the weights `[B, to, from]` along one axis."""
    place = torch.arange(side, device=sigma.device, dtype=sigma.dtype) * step
    far = place[:, None] - place
    far = far.expand(len(sigma), -1, -1)
    if shift is not None:
        far = far - shift[:, None, None]
    scale = 1 / (sigma[:, None, None] * math.sqrt(2))
    weight = (((far + step / 2) * scale).erf() - ((far - step / 2) * scale).erf()) / 2
    return weight / weight.sum(-1, keepdim=True).clamp(min=1e-9) if inside else weight


def texture(volume: Tensor, counted: Tensor, spacing: Triple) -> tuple[Tensor, Tensor]:
    r"""Measure the grain of volumes: its width and its variance.

    Noise of variance $v$ smoothed by a Gaussian of width $s$ has, at a lag of one voxel $h$, the
    correlation $\rho = \exp(-h^2 / 4 s^2)$, and so

    $$\frac{E (x_{-1} - 2 x_0 + x_1)^2}{E (x_1 - x_0)^2} = 3 - \rho - \rho^2 - \rho^3.$$

    Differences of differences see little of what changes slowly. Structure that remains makes $s$
    and $v$ too large, never too small; bound them by what scanners do.

    Args:
        volume: `[B, D, H, W]`.
        counted: Booleans alike: a difference counts if all of its voxels do.
        spacing: mm along depth, height, width.

    Returns:
        Width in mm, root mean square over the axes, and variance, `[B]` each; where nothing counts,
        the width of $\rho = 1/2$ and a variance of 0.
    """
    widths, variances = [], []
    for axis, step in enumerate(spacing):
        first, second = _mean_differences(volume, counted, axis + 1)
        ratio = torch.where(first > 0, second / first.clamp(min=1e-12), 2.125)
        rho = _correlation(ratio)
        widths.append(step**2 / (-4 * rho.log()))
        variances.append(second / (6 - 8 * rho + 2 * rho**4))
    return torch.stack(widths).mean(0).sqrt(), torch.stack(variances).mean(0)


def _mean_differences(volume: Tensor, counted: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Return the mean squares of first and second differences where all three voxels count."""
    side = volume.shape[axis]
    if side < 3:
        nothing = volume.new_zeros(len(volume))
        return nothing, nothing
    a, b, c = (volume.narrow(axis, start, side - 2) for start in range(3))
    every = (counted.narrow(axis, start, side - 2) for start in range(3))
    use = next(every) & next(every) & next(every)
    count = use.sum((1, 2, 3)).clamp(min=1)
    first = torch.where(use, (b - a).square(), 0.0).sum((1, 2, 3)) / count
    second = torch.where(use, (a - 2 * b + c).square(), 0.0).sum((1, 2, 3)) / count
    return first, second


def _correlation(ratio: Tensor) -> Tensor:
    """Solve `3 - r - r^2 - r^3 = ratio` for r between .02 and .98 by Newton's method."""
    rho = torch.full_like(ratio, 0.5)
    for _ in range(12):
        value = 3 - rho - rho**2 - rho**3 - ratio
        rho = (rho + value / (1 + 2 * rho + 3 * rho**2)).clamp(0.02, 0.98)
    return rho
