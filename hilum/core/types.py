"""Names for the arrays that cross rooms, in axis order batch channels depth height width."""

from __future__ import annotations

from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from .case import IGNORE

__all__ = ["IGNORE", "Available", "Label", "Logits", "Volume"]

Volume = Float[Tensor, "batch channels depth height width"]
"""One batch of images or feature maps."""

Logits = Float[Tensor, "batch classes depth height width"]
"""Scores before softmax, background first."""

Label = UInt8[Tensor, "batch 1 depth height width"]
"""Class of each voxel; 0 is background, 255 is unknown and never counts."""

Available = Bool[Tensor, "batch modalities"]
"""Which modalities each case of the batch has."""
