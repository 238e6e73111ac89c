"""Uptake that is no node: real foci erased, and blurred copies of real foci elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor

from hilum.core.geometry import Triple

from .node_boxes import Boxes
from .node_looks import LOCAL_MM
from .node_places import choose
from .smoothing import smooth

BALL_MM = (6.0, 16.0)
"""Radii of what is erased or copied."""

FARTHER = 1.5
"""Width of the blur of a copy against that of the scan."""


def surroundings(value: Tensor, hot: Tensor, spacing: Triple) -> Tensor:
    """Return the uptake around each voxel, from the voxels that are not hot."""
    wide = torch.full((len(value),), 2 * LOCAL_MM, device=value.device)
    cold = (~hot).float()
    return smooth(value * cold, wide, spacing) / smooth(cold, wide, spacing).clamp(min=1e-3)


def balls(
    where: Tensor, count: int, spacing: Triple, generator: torch.Generator
) -> tuple[Boxes, Tensor, Tensor]:
    """Draw balls around voxels of a mask.

    Returns:
        Their boxes, how much of each voxel they hold `[B, K, d, h, w]` (0 for balls that found no
        place), and their radii `[B, K]`.
    """
    places, there = choose(where.float(), count, generator)
    draw = torch.rand(there.shape, generator=generator, device=generator.device)
    radius = BALL_MM[0] + (BALL_MM[1] - BALL_MM[0]) * draw
    boxes = Boxes.around(places.float(), BALL_MM[1] * 1.25, where.shape[1:], spacing)
    far = boxes.offset_mm.square().sum(2).sqrt() / radius[..., None, None, None]
    soft = ((1.25 - far) / 0.5).clamp(0, 1)
    return boxes, soft * there[..., None, None, None], radius


def erase(value: Tensor, low: Tensor, boxes: Boxes, soft: Tensor) -> tuple[Tensor, Tensor]:
    """Take real foci out.

    Args:
        value: Uptake `[B, D, H, W]`.
        low: What is around, alike.
        boxes: Of the balls.
        soft: How much of each voxel they hold.

    Returns:
        The uptake without them, and booleans where it is gone, `[B, D, H, W]` each.
    """
    gone = boxes.paint(
        torch.zeros_like(value)[:, None],
        soft.new_ones(()).expand(*soft.shape[:2], 1, 1, 1, 1),
        soft[:, :, None],
    )[:, 0]
    left = torch.minimum(value, low)
    return value + gone * (left - value), gone > 0.5


def copies(
    value: Tensor, low: Tensor, boxes: Boxes, soft: Tensor, to: Tensor, spacing: Triple
) -> Tensor:
    """Return the uptake of real foci as it is to be added at other places `[B, D, H, W]`.

    Args:
        value: Uptake `[B, D, H, W]`.
        low: What is around, alike.
        boxes: Of the balls at the foci.
        soft: How much of each voxel they hold.
        to: Middle of each copy `[B, K, 3]`, in voxels.
        spacing: mm along depth, height, width.
    """
    above = boxes.take((value - low).clamp(min=0)) * soft
    reach = BALL_MM[1] * 1.25
    target = Boxes.around(to.float(), reach, value.shape[1:], spacing)
    canvas = torch.zeros_like(value)[:, None]
    return target.paint(canvas, above[:, :, None], (above > 0).float()[:, :, None])[:, 0]
