"""Nodules as they lie in a patch: each in a box around it, with what fills it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from hilum.core.geometry import Triple
from hilum.core.host import free_to_read

from .node_boxes import Boxes
from .node_looks import Looks, insides
from .node_shapes import Shapes, form, reach_mm, share


class Drawn(NamedTuple):
    """Nodes and decoys of one modality, `[B, K]`, decoys first so that nodes lie over them.

    Attributes:
        shapes, looks: What was drawn.
        places: Middles in voxels, with fractions `[B, K, 3]`.
        dense: Whether it shows in the modalities of structure.
        avid: Whether it shows in the modalities of uptake.
        node: Whether it is a node.
    """

    shapes: Shapes
    looks: Looks
    places: Tensor
    dense: Tensor
    avid: Tensor
    node: Tensor


@dataclass(frozen=True)
class Solids:
    """Some columns of what was drawn, voxel by voxel. Final.

    Attributes:
        columns: Which of the K.
        boxes: Around each.
        form: 0 in the middle, 1 on the surface `[B, k, d, h, w]`.
        own: Place in half axes `[B, k, 3, d, h, w]`.
        cover: How much of each voxel it fills, alike.
        hilum, dead: Fraction of fatty hilum and of dead middle, alike.
    """

    columns: slice
    boxes: Boxes
    form: Tensor
    own: Tensor
    cover: Tensor
    hilum: Tensor
    dead: Tensor


Colour = Callable[[Solids], Tensor]
"""Value of each voxel of each of the solids `[B, k, d, h, w]`, or 1 along any of the sides."""


def solids(drawn: Drawn, free: Tensor, most_mm: float, spacing: Triple) -> list[Solids]:
    """Return all that was drawn, in the order in which it is painted.

    On a processor each column has boxes as large as its largest nodule needs, and none where none
    shows: the volume of a box grows with the third power of what it holds. Elsewhere the host
    would have to wait for these sizes, and one group with the largest boxes takes fewer kernels.

    Args:
        drawn: Nodes and decoys.
        free: Where a nodule may spread to `[B, D, H, W]`, 0 to 1.
        most_mm: Beyond this distance from the middle nothing is drawn.
        spacing: mm along depth, height, width.
    """
    found = []
    for columns, reach in _groups(drawn, most_mm, spacing):
        shapes, looks = drawn.shapes.columns(columns), drawn.looks.columns(columns)
        boxes = Boxes.around(drawn.places[:, columns], reach, free.shape[1:], spacing)
        forms, own = form(shapes, boxes.offset_mm)
        cover = share(forms, boxes.offset_mm, spacing) * boxes.take(free)
        found.append(Solids(columns, boxes, forms, own, cover, *insides(forms, own, looks)))
    return found


def over(canvas: Tensor, stack: Sequence[Solids], colour: Colour, shown: Tensor) -> Tensor:
    """Return a canvas `[B, D, H, W]` with the solids that show `[B, K]` painted over it."""
    result = canvas[:, None].clone(memory_format=torch.contiguous_format)
    for one in stack:
        opaque = one.cover * shown[:, one.columns, None, None, None]
        one.boxes.paint_into(result, colour(one)[:, :, None], opaque[:, :, None])
    return result[:, 0]


def _groups(drawn: Drawn, most_mm: float, spacing: Triple) -> list[tuple[slice, float]]:
    count = drawn.node.shape[1]
    if not free_to_read(drawn.places):
        return [(slice(0, count), most_mm)]
    # Half a voxel each: the partial volume of the edge, and the rounding of the box's own middle.
    margin = sum(spacing) / 6 + max(spacing) / 2
    there = drawn.dense | drawn.avid | drawn.node
    reach = torch.where(there, (reach_mm(drawn.shapes) + margin).clamp(max=most_mm), 0.0)
    each = enumerate(reach.amax(0).tolist())
    return [(slice(column, column + 1), most) for column, most in each if most > 0]
