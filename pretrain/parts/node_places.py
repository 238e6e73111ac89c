"""Where a lymph node may lie: in fat between soft tissues, by the CT; else inside the body."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from hilum.core.geometry import Triple
from hilum.core.modality import Modality

from .smoothing import smooth

LUNG_HU, FAT_HU, BONE_HU = -200.0, -30.0, 180.0
"""Upper end of lung and air, upper end of fat, lower end of bone."""

AROUND_MM = 5.0
"""Standard deviation of the neighbourhood whose tissues decide."""

NEAR = 0.25
"""Greatest share of lung, air and bone in the neighbourhood."""

DEPTH_MM, DEPTH = 6.0, 0.975
"""Neighbourhood whose share of body must be as great: nodes lie about 12 mm under the skin."""

MOULD_MM = 2.5
"""Neighbourhood whose majority tells whether a node may fill a voxel; noise makes no holes."""

CANDIDATES = 6
"""Places around a station that a node chooses from."""


def tissues(hu: Tensor, rule: Modality) -> tuple[Tensor, Tensor]:
    """Return booleans: fat, and soft tissue. What the window cuts off is lung, air or bone."""
    lung = hu <= max(LUNG_HU, rule.low + 5)
    bone = hu >= min(BONE_HU, rule.high - 5)
    fat = ~lung & (hu < FAT_HU)
    return fat, ~lung & ~bone & ~fat


def by_tissue(hu: Tensor, rule: Modality, body: Tensor, spacing: Triple) -> Tensor:
    """Return how plausible a node is at each voxel of a CT, `[B, D, H, W]`, 0 to 1.

    The square of four times the product of the fractions of fat and of soft tissue around, so that
    thin sheets of fat in a muscle count little, times 1 minus how one-sided their border is: 1 in
    fat with soft tissue on all sides, 0 on the even border of a muscle (as under the skin), in the
    depth of an organ or of a pad of fat. 0 in lung, air and bone, near much of them, just under
    the skin, and outside of the body.
    """
    fat, soft = tissues(hu, rule)
    wide = torch.full((len(hu),), AROUND_MM, device=hu.device)
    both = torch.stack([fat & body, soft & body], 1).float()
    around = smooth(both, wide, spacing, inside=True)
    good = (around.sum(1) >= 1 - NEAR) & (fat | soft) & deep(body, spacing)
    mixed = (4 * around[:, 0] * around[:, 1]).square()
    worth = mixed * (1 - one_sided(around[:, 1], spacing))
    return torch.where(good & (worth > 0.1), worth.clamp(max=1), 0.0)


def one_sided(soft: Tensor, spacing: Triple) -> Tensor:
    """Return how one-sided a border is, 0 to 1: the slope of a share over that of an even border.

    A plane smoothed by a Gaussian of width s has the slope 1 / (s sqrt(2 pi)).
    """
    slope = torch.zeros_like(soft)
    for axis, step in enumerate(spacing, 1):
        if soft.shape[axis] > 1:
            slope = slope + torch.gradient(soft, spacing=step, dim=axis)[0].square()
    slope = slope.sqrt()
    return (slope * AROUND_MM * math.sqrt(2 * math.pi)).clamp(max=1)


def deep(body: Tensor, spacing: Triple) -> Tensor:
    """Return where a node has room under the skin, booleans `[B, D, H, W]`."""
    wide = torch.full((len(body),), DEPTH_MM, device=body.device)
    return (smooth(body.float(), wide, spacing, inside=True) > DEPTH) & body


def open_to_nodes(
    values: Sequence[Tensor],
    rules: Sequence[Modality],
    available: Tensor,
    body: Tensor,
    spacing: Triple,
) -> Tensor:
    """Return what a node may fill: fat and soft tissue by the CT, else the body.

    Nodes mould themselves around all else: bone, lung, airways, vessels full of contrast, skin.
    Arguments and shape are those of `plausible`; booleans.
    """
    free = body
    for channel in reversed([c for c, rule in enumerate(rules) if rule.unit == "HU"]):
        fat, soft = tissues(values[channel], rules[channel])
        have = available[:, channel, None, None, None]
        free = torch.where(have, (fat | soft) & body, free)
    wide = torch.full((len(body),), MOULD_MM, device=body.device)
    return smooth(free.float(), wide, spacing, inside=True) > 0.5


def by_body(body: Tensor, spacing: Triple) -> Tensor:
    """Return how plausible a node is where no CT tells: 1 in the depth of the body, else 0."""
    wide = torch.full((len(body),), AROUND_MM, device=body.device)
    return ((smooth(body.float(), wide, spacing, inside=True) > 0.9) & body).float()


def plausible(
    values: Sequence[Tensor],
    rules: Sequence[Modality],
    available: Tensor,
    body: Tensor,
    spacing: Triple,
) -> Tensor:
    """Return how plausible a node is at each voxel `[B, D, H, W]`: by the first CT that is there.

    Args:
        values: Physical values `[B, D, H, W]` of each modality.
        rules: Of each modality.
        available: Which modalities each case has `[B, M]`.
        body: Inside the patient `[B, D, H, W]`.
        spacing: mm along depth, height, width.
    """
    worth = by_body(body, spacing)
    for channel in reversed([c for c, rule in enumerate(rules) if rule.unit == "HU"]):
        have = available[:, channel, None, None, None]
        worth = torch.where(have, by_tissue(values[channel], rules[channel], body, spacing), worth)
    return worth


def choose(worth: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw voxels in proportion to their worth, none twice.

    Source:
        Efraimidis and Spirakis, "Weighted random sampling with a reservoir", Information
        Processing Letters 2006, doi:10.1016/j.ipl.2005.11.003: the largest of log(u) / worth.

    Returns:
        Indices `[B, count, 3]`, and whether each has a worth above 0 `[B, count]`.
    """
    flat = worth.flatten(1)
    draw = torch.rand(flat.shape, generator=generator, device=generator.device)
    keys = draw.clamp(min=1e-12).log() / flat.clamp(min=1e-12)
    keys = torch.where(flat > 0, keys, -torch.inf)
    count_there = min(count, flat.shape[1])
    chosen = keys.topk(count_there, 1).indices
    chosen = chosen[:, torch.arange(count, device=chosen.device) % count_there]
    return unravel(chosen, worth.shape[1:]), flat.gather(1, chosen) > 0


def around_stations(
    worth: Tensor,
    stations: Tensor,
    member: Tensor,
    spread_mm: float,
    spacing: Triple,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Draw a place near a station for each node: the most plausible of a few.

    Args:
        worth: `[B, D, H, W]`.
        stations: Indices `[B, S, 3]`.
        member: Station of each node `[B, K]`.
        spread_mm: Standard deviation of the distance along each axis.
        spacing: mm along depth, height, width.
        generator: Of every draw.

    Returns:
        Indices `[B, K, 3]`, and whether each is plausible `[B, K]`.
    """
    batch, nodes = member.shape
    step = torch.randn((batch, nodes, CANDIDATES, 3), generator=generator, device=generator.device)
    step = step * (spread_mm / step.new_tensor(spacing))
    middle = stations.gather(1, member[..., None].expand(-1, -1, 3))
    places = middle[:, :, None] + step.round().long()
    last = places.new_tensor(worth.shape[1:]) - 1
    inside = ((places >= 0) & (places <= last)).all(-1)
    places = torch.minimum(places.clamp(min=0), last)
    found = at(worth, places.flatten(1, 2)).view(batch, nodes, -1) * inside
    best = found.argmax(-1)
    places = places.gather(2, best[..., None, None].expand(-1, -1, 1, 3))[:, :, 0]
    return places, found.amax(-1) > 0


def at(volume: Tensor, places: Tensor) -> Tensor:
    """Return the values `[B, K]` of volumes `[B, D, H, W]` at indices `[B, K, 3]`."""
    _, height, width = volume.shape[1:]
    flat = (places[..., 0] * height + places[..., 1]) * width + places[..., 2]
    return volume.flatten(1).gather(1, flat)


def unravel(flat: Tensor, sides: Sequence[int]) -> Tensor:
    """Return the three indices of flat ones, as a last axis."""
    _, height, width = sides
    return torch.stack([flat // (height * width), flat // width % height, flat % width], -1)
