"""How synthetic nodes look in each modality, by its rule: density or signal, and uptake."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hilum.core.geometry import Triple
from hilum.core.modality import Modality

from .node_places import at, tissues
from .node_shapes import Shapes
from .smoothing import smooth, texture

LOCAL_MM = 6.0
"""Standard deviation of what counts as the surroundings of a place."""

USUAL, USUAL_SPREAD = 0.6, 0.55
"""Median uptake of a node of 10 mm as a share of the window that is shown (SUV 4.8 of 8), and the
standard deviation of its log."""

BY_SIZE = 0.35
"""Exponent of the short axis over 10 mm: larger nodes take up more."""

LEAST_CONTRAST = 0.08
"""Least uptake above the surroundings, as a share of the window that is shown (SUV 0.6 of 8)."""

FOREIGN = 0.25
"""Amplitude of the density of rings and of noise, as a share of the window that is shown."""


@dataclass(frozen=True)
class Looks:
    """What was drawn of the inside of each node, `[B, K]`. Final.

    Attributes:
        bright: Standard normal: density or signal against the usual.
        avid: Standard normal: uptake against the usual.
        hilum: Whether it has a fatty hilum.
        necrosis: Whether its middle is dead.
        uneven: Amplitude of the uptake's variation, a share.
    """

    bright: Tensor
    avid: Tensor
    hilum: Tensor
    necrosis: Tensor
    uneven: Tensor


def draw_looks(
    batch: int, count: int, hilum: float, necrosis: float, generator: torch.Generator
) -> Looks:
    """Draw looks; a node has not both a hilum and a dead middle."""
    shape, device = (batch, count), generator.device
    bright, avid = torch.randn((2, *shape), generator=generator, device=device)
    kind, uneven = torch.rand((2, *shape), generator=generator, device=device)
    return Looks(bright, avid, kind < hilum, kind > 1 - necrosis, 0.4 * uneven)


def density(
    value: Tensor,
    rule: Modality,
    body: Tensor,
    looks: Looks,
    places: Tensor,
    inside: tuple[Tensor, Tensor],
    spacing: Triple,
) -> Tensor:
    """Return the value of each voxel of each node in a modality of structure `[B, K, d, h, w]`.

    On a CT a node is as dense as the soft tissue of the patch, 12 HU up or down, so that the phase
    of the contrast is the case's own; a hilum is fat, a dead middle near water. Elsewhere (`a.u.`)
    there is no absolute scale: a node is brighter or darker than what is around it.

    Args:
        value: Physical values `[B, D, H, W]`.
        rule: Of the modality.
        body: Inside the patient, alike.
        looks: What was drawn.
        places: `[B, K, 3]` in whole voxels.
        inside: Fraction of hilum and of dead middle in each voxel `[B, K, d, h, w]`.
        spacing: mm along depth, height, width.
    """
    hilum, dead = inside
    if rule.unit == "HU":
        soft = (tissues(value, rule)[1] & (value > 0) & body).float()
        count = soft.sum((1, 2, 3))
        mean = (value * soft).sum((1, 2, 3)) / count.clamp(min=1)
        mean = torch.where(count > 0, mean, 40.0).clamp(20, 120)
        usual = (mean[:, None] + 12 * looks.bright).clamp(5, 160)
        hollow, fat = (0.3 * usual).clamp(max=25), torch.full_like(usual, -80.0)
    else:
        width = rule.show[1] - rule.show[0]
        wide = torch.full((len(value),), LOCAL_MM, device=value.device)
        local = at(smooth(value, wide, spacing, inside=True), places)
        change = torch.sign(looks.bright) * (0.1 + 0.15 * looks.bright.abs()) * width
        usual = (local + change).clamp(rule.low, rule.high)
        hollow = fat = (local - change / 2).clamp(rule.low, rule.high)
    flat = usual[..., None, None, None]
    flat = flat + hilum * (fat[..., None, None, None] - flat)
    return flat + dead * (hollow[..., None, None, None] - flat)


def contrast(
    value: Tensor,
    rule: Modality,
    looks: Looks,
    shapes: Shapes,
    places: Tensor,
    inside: tuple[Tensor, Tensor],
    own: Tensor,
    spacing: Triple,
) -> Tensor:
    """Return the uptake above the surroundings in each voxel `[B, K, d, h, w]`, before any blur.

    Args:
        value: Physical values `[B, D, H, W]`.
        rule: Of the modality.
        looks: What was drawn.
        shapes: For their sizes.
        places: `[B, K, 3]` in whole voxels.
        inside: Fraction of hilum and of dead middle in each voxel `[B, K, d, h, w]`.
        own: Place of each voxel in a node's half axes `[B, K, 3, d, h, w]`.
        spacing: mm along depth, height, width.
    """
    wide = torch.full((len(value),), LOCAL_MM, device=value.device)
    local = at(smooth(value, wide, spacing, inside=True), places)
    size = (shapes.axes_mm[..., 0] / 10) ** BY_SIZE
    show = rule.show[1]
    level = USUAL * show * size * (USUAL_SPREAD * looks.avid).exp()
    level = torch.maximum(level, local + LEAST_CONTRAST * show).clamp(max=rule.high)
    above = (level - local).clamp(min=0)[..., None, None, None]
    hilum, dead = inside
    phase = (
        2.5 * own[:, :, 2] + 1.5 * own[:, :, 1] + 3 * looks.bright[..., None, None, None]
    ).sin()
    uneven = 1 + looks.uneven[..., None, None, None] * phase
    return above * uneven * (1 - 0.5 * hilum) * (1 - 0.85 * dead)


def insides(form: Tensor, own: Tensor, looks: Looks) -> tuple[Tensor, Tensor]:
    """Return the fraction of fatty hilum and of dead middle in each voxel `[B, K, d, h, w]`."""
    half = own.new_tensor([0.45, 0.7, 0.6])[:, None, None, None]
    off = own.new_tensor([0.0, 0.4, 0.0])[:, None, None, None]
    hilum = (2.5 - 2.5 * ((own - off) / half).square().sum(2).sqrt()).clamp(0, 1)
    dead = ((0.65 - form) / 0.15).clamp(0, 1)
    return (
        hilum * looks.hilum[..., None, None, None],
        dead * looks.necrosis[..., None, None, None],
    )


def rings(form: Tensor) -> Tensor:
    """Return concentric rings, -1 to 1: what neither a node nor a phantom has `[B, K, d, h, w]`."""
    return torch.cos(4 * torch.pi * form.clamp(max=1.5))


def grain(
    width_mm: Tensor, shape: tuple[int, ...], spacing: Triple, generator: torch.Generator
) -> Tensor:
    """Draw noise of variance 1 that a Gaussian of these widths `[B]` has smoothed, `shape`."""
    noise = torch.randn(shape, generator=generator, device=generator.device)
    sides = shape[1:]
    point = torch.zeros(shape, device=noise.device)
    point[:, sides[0] // 2, sides[1] // 2, sides[2] // 2] = 1
    energy = smooth(point, width_mm, spacing, inside=True).square().sum((1, 2, 3))
    return smooth(noise, width_mm, spacing, inside=True) / energy.sqrt().view(-1, 1, 1, 1)


def point_spread(
    value: Tensor, counted: Tensor, bounds_fwhm_mm: tuple[float, float], spacing: Triple
) -> tuple[Tensor, Tensor]:
    """Return the resolution of each case, and the variance of its noise per unit of uptake.

    Args:
        value: Uptake `[B, D, H, W]`.
        counted: Where to measure, alike.
        bounds_fwhm_mm: Smallest and largest resolution; structure makes the measure too wide.
        spacing: mm along depth, height, width.

    Returns:
        Standard deviation of the Gaussian in mm, and the variance over the mean, `[B]` each; the
        latter at most a tenth of the mean.
    """
    width, variance = texture(value, counted, spacing)
    low, high = (bound / 2.3548 for bound in bounds_fwhm_mm)
    mean = torch.where(counted, value, 0.0).sum((1, 2, 3)) / counted.sum((1, 2, 3)).clamp(min=1)
    mean = mean.clamp(min=1e-3)
    return width.clamp(low, high), torch.minimum(variance / mean, 0.1 * mean)
