"""Segmentation losses, one per file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hilum.core.registry import Table

if TYPE_CHECKING:
    from .base import Loss

# Lazy: reading settings or plans needs none of them.
LOSSES: Table[type[Loss]] = Table(
    "losses",
    {
        "dice_ce": "DiceCeLoss",
        "dice_focal": "DiceFocalLoss",
        "tversky": "TverskyLoss",
        "focal_tversky": "FocalTverskyLoss",
        "unified_focal": "UnifiedFocalLoss",
        "blob": "BlobLoss",
        "cc": "CcLoss",
        "boundary": "BoundaryLoss",
    },
    base="hilum.losses.base:Loss",
    room="hilum.losses",
)
