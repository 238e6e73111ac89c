"""Shapes of synthetic lymph nodes, by the statistics of real ones: long, rough, lobed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from hilum.core.geometry import Triple

MEDIAN_MM, SPREAD = 11.0, 0.5
"""Short axis: log-normal, so that those of 10 mm or more have a median of about 15 mm."""

LOG_EXCESS, LOG_EXCESS_SPREAD = -0.52, 0.61
"""Mean and standard deviation of log(long over short axis - 1), before the surface is rough."""

WAVES, HEIGHT = 5, 0.125
"""Waves over the surface, and their mean height as a share of the radius: roughness and lobes.

With these numbers 120 shapes of 10 to 30 mm have, by their second moments, a long over short axis
of 1.4, 1.8, 3.5 at 5, 50, 95 %, 39 % above 2, and fill .74, .88, .97 of the ellipsoid of the
same moments (`tests/pretrain/parts/test_node_shapes.py`)."""

Family = Literal["real", "box", "spiculated"]
"""Shapes of real nodes; and two that neither a node nor a phantom has, as a control."""

SPIKES, SPIKE = 6, 0.6
"""Of a spiculated shape: number, and the height of the logarithm of the radius."""


@dataclass(frozen=True)
class Shapes:
    r"""Star-shaped bodies, `[B, K]` of them. Final.

    The surface lies, in the direction $u$ of a body's own axes, at the ellipsoid's radius times
    $\\exp \\sum_j h_j \\sin(w_j \\cdot u + p_j)$.

    Attributes:
        axes_mm: Short, middle and long axis `[B, K, 3]`.
        turn: Rows are the directions of the axes along depth, height, width `[B, K, 3, 3]`.
        waves: Vectors w `[B, K, W, 3]`.
        phases: Phases p `[B, K, W]`.
        heights: Heights h `[B, K, W]`.
        family: Of boxes the length is that of the maximum norm; spikes rise along the waves.
    """

    axes_mm: Tensor
    turn: Tensor
    waves: Tensor
    phases: Tensor
    heights: Tensor
    family: Family = "real"

    def columns(self, which: slice) -> Shapes:
        """Return some of the K."""
        own = {name: one[:, which] for name, one in vars(self).items() if name != "family"}
        return replace(self, **own)


def draw_shapes(
    batch: int,
    count: int,
    short_mm: tuple[float, float],
    long_mm: float,
    generator: torch.Generator,
    family: Family = "real",
) -> Shapes:
    """Draw shapes.

    Args:
        batch: Samples.
        count: Shapes of each.
        short_mm: Smallest and largest short axis.
        long_mm: Largest long axis.
        generator: Of every draw; its device is that of the result.
        family: What kind of shapes.

    Source:
        932 masks of the NIH CT Lymph Nodes (Roth et al., 2014, doi:10.1007/978-3-319-10404-1_65):
        long over short axis 1.30, 1.86, 3.24 at 5, 50, 95 %; volume over that of the ellipsoid of
        the same moments .76, .88, .94.
    """
    device, shape = generator.device, (batch, count)

    def normal(*more: int) -> Tensor:
        return torch.randn((*shape, *more), generator=generator, device=device)

    def uniform(*more: int) -> Tensor:
        return torch.rand((*shape, *more), generator=generator, device=device)

    short = (MEDIAN_MM * (SPREAD * normal()).exp()).clamp(*short_mm)
    ratio = 1 + (LOG_EXCESS + LOG_EXCESS_SPREAD * normal()).exp()
    long = torch.minimum(short * ratio, torch.full_like(short, long_mm)).clamp(min=short)
    middle = short * (long / short) ** (0.7 * uniform())
    count_of = WAVES if family == "real" else SPIKES
    waves = normal(count_of, 3)
    waves = waves / waves.norm(dim=-1, keepdim=True) * (2.5 + 3 * uniform(count_of))[..., None]
    return Shapes(
        torch.stack([short, middle, long], -1),
        _turns(normal(4)),
        waves,
        2 * torch.pi * uniform(count_of),
        _height(family) * (0.5 + uniform())[..., None].expand(-1, -1, count_of),
        family,
    )


def form(shapes: Shapes, offset_mm: Tensor) -> tuple[Tensor, Tensor]:
    """Return the form (0 in the middle, 1 on the surface) and the place in own axes.

    Args:
        shapes: `[B, K]` of them.
        offset_mm: From the middle, along depth, height, width `[B, K, 3, d, h, w]`.

    Returns:
        `[B, K, d, h, w]`, and `[B, K, 3, d, h, w]` in half axes.
    """
    own = torch.einsum("bkij,bkjdhw->bkidhw", shapes.turn, offset_mm)
    own = own / (shapes.axes_mm / 2)[..., None, None, None]
    length = own.square().sum(2).sqrt()
    if shapes.family == "box":
        return own.abs().amax(2), own
    way = own / length.clamp(min=1e-4)[:, :, None]
    angle = torch.einsum("bkji,bkidhw->bkjdhw", shapes.waves, way)
    if shapes.family == "spiculated":
        steep = shapes.waves.norm(dim=-1)[..., None, None, None]
        wave = (12 * (angle / steep - 1)).exp()
        log_radius = (shapes.heights[..., None, None, None] * wave).sum(2)
        return length * (-log_radius).exp(), own
    wave = (angle + shapes.phases[..., None, None, None]).sin()
    log_radius = (shapes.heights[..., None, None, None] * wave).sum(2)
    return length * (-log_radius).exp(), own


def reach_mm(shapes: Shapes) -> Tensor:
    """Return a distance from the middle that no point of the surface exceeds `[B, K]`."""
    half = shapes.axes_mm / 2
    if shapes.family == "box":
        return half.norm(dim=-1)
    return half.amax(-1) * shapes.heights.sum(-1).exp()


def share(form: Tensor, offset_mm: Tensor, spacing: Triple) -> Tensor:
    """Return how much of each voxel a body fills, 0 to 1: the partial volume at its edge.

    Linear in the distance to the surface along the ray from the middle, over one voxel.
    """
    voxel = sum(spacing) / 3
    far = offset_mm.square().sum(2).sqrt().clamp(min=voxel / 4)
    outside = far * (1 - 1 / form.clamp(min=0.05))
    return (0.5 - outside / voxel).clamp(0, 1)


def _height(family: Family) -> float:
    return {"real": HEIGHT, "box": 0.0, "spiculated": SPIKE}[family]


def _turns(quaternion: Tensor) -> Tensor:
    """Return the rotations `[..., 3, 3]` of quaternions `[..., 4]` of any length but 0."""
    a, b, c, d = (quaternion / quaternion.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a - b * b + c * c - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a - b * b - c * c + d * d],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
