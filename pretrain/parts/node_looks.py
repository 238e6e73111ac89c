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

    def columns(self, which: slice) -> Looks:
        """Return some of the K."""
        own = {name: one[:, which] for name, one in vars(self).items()}
        return Looks(**own)


def draw_looks(
    batch: int, count: int, hilum: float, necrosis: float, generator: torch.Generator
) -> Looks:
    """Draw looks; a node has not both a hilum and a dead middle."""
    shape, device = (batch, count), generator.device
    bright, avid = torch.randn((2, *shape), generator=generator, device=device)
    kind, uneven = torch.rand((2, *shape), generator=generator, device=device)
    return Looks(bright, avid, kind < hilum, kind > 1 - necrosis, 0.4 * uneven)


@dataclass(frozen=True)
class Density:
    """Values of each node in a modality of structure, `[B, K]`. Final.

    Attributes:
        usual: Of most of it.
        fat: Of its hilum.
        hollow: Of its dead middle.
    """

    usual: Tensor
    fat: Tensor
    hollow: Tensor

    def at(self, which: slice, hilum: Tensor, dead: Tensor) -> Tensor:
        """Return the value of each voxel of some nodes `[B, k, d, h, w]`.

        Args:
            which: Of the K.
            hilum: Fraction of hilum in each voxel, alike.
            dead: Fraction of dead middle, alike.
        """
        usual, fat, hollow = (
            one[:, which, None, None, None] for one in (self.usual, self.fat, self.hollow)
        )
        flat = usual + hilum * (fat - usual)
        return flat + dead * (hollow - flat)


def density(
    value: Tensor, rule: Modality, body: Tensor, looks: Looks, places: Tensor, spacing: Triple
) -> Density:
    """Return the values of nodes in a modality of structure.

    On a CT a node is as dense as the soft tissue of the patch, 12 HU up or down, so that the phase
    of the contrast is the case's own; a hilum is fat, a dead middle near water. Elsewhere (`a.u.`)
    there is no absolute scale: a node is brighter or darker than what is around it.

    Args:
        value: Physical values `[B, D, H, W]`.
        rule: Of the modality.
        body: Inside the patient, alike.
        looks: What was drawn.
        places: `[B, K, 3]` in whole voxels.
        spacing: mm along depth, height, width.
    """
    if rule.unit == "HU":
        soft = (tissues(value, rule)[1] & (value > 0) & body).float()
        count = soft.sum((1, 2, 3))
        mean = (value * soft).sum((1, 2, 3)) / count.clamp(min=1)
        mean = torch.where(count > 0, mean, 40.0).clamp(20, 120)
        usual = (mean[:, None] + 12 * looks.bright).clamp(5, 160)
        return Density(usual, torch.full_like(usual, -80.0), (0.3 * usual).clamp(max=25))
    width = rule.show[1] - rule.show[0]
    wide = torch.full((len(value),), LOCAL_MM, device=value.device)
    local = at(smooth(value, wide, spacing, inside=True), places)
    change = torch.sign(looks.bright) * (0.1 + 0.15 * looks.bright.abs()) * width
    usual = (local + change).clamp(rule.low, rule.high)
    other = (local - change / 2).clamp(rule.low, rule.high)
    return Density(usual, other, other)


@dataclass(frozen=True)
class Contrast:
    """Uptake of each node above its surroundings `[B, K]`, before any blur. Final.

    Attributes:
        above: Where it is even.
        uneven: Amplitude of its variation, a share.
        bright: Phase of its variation.
    """

    above: Tensor
    uneven: Tensor
    bright: Tensor

    def at(self, which: slice, own: Tensor, hilum: Tensor, dead: Tensor) -> Tensor:
        """Return the uptake in each voxel of some nodes `[B, k, d, h, w]`.

        Args:
            which: Of the K.
            own: Place of each voxel in a node's half axes `[B, k, 3, d, h, w]`.
            hilum: Fraction of hilum in each voxel `[B, k, d, h, w]`.
            dead: Fraction of dead middle, alike.
        """
        above, amplitude, bright = (
            one[:, which, None, None, None] for one in (self.above, self.uneven, self.bright)
        )
        phase = (2.5 * own[:, :, 2] + 1.5 * own[:, :, 1] + 3 * bright).sin()
        uneven = 1 + amplitude * phase
        return above * uneven * (1 - 0.5 * hilum) * (1 - 0.85 * dead)


def contrast(
    value: Tensor, rule: Modality, looks: Looks, shapes: Shapes, places: Tensor, spacing: Triple
) -> Contrast:
    """Return the uptake of nodes above their surroundings.

    Args:
        value: Physical values `[B, D, H, W]`.
        rule: Of the modality.
        looks: What was drawn.
        shapes: For their sizes.
        places: `[B, K, 3]` in whole voxels.
        spacing: mm along depth, height, width.
    """
    wide = torch.full((len(value),), LOCAL_MM, device=value.device)
    local = at(smooth(value, wide, spacing, inside=True), places)
    size = (shapes.axes_mm[..., 0] / 10) ** BY_SIZE
    show = rule.show[1]
    level = USUAL * show * size * (USUAL_SPREAD * looks.avid).exp()
    level = torch.maximum(level, local + LEAST_CONTRAST * show).clamp(max=rule.high)
    return Contrast((level - local).clamp(min=0), looks.uneven, looks.bright)


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
