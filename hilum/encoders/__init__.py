"""From an image to a pyramid of features, and from a pyramid back to an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hilum.core.registry import Table

if TYPE_CHECKING:
    from .base import Encoder

# Lazy: torch, timm, transformers and MONAI take seconds to import.
ENCODERS: Table[type[Encoder]] = Table(
    "encoders",
    {
        "resenc": "ResencEncoder",
        "plainconv": "PlainconvEncoder",
        "stunet": "StunetEncoder",
        "segresnet": "SegresnetEncoder",
        "mednext": "MednextEncoder",
        "resnet3d": "Resnet3DEncoder",
        "unet3d": "Unet3DEncoder",
        "timm_cnn": "TimmCnnEncoder",
        "primus": "PrimusEncoder",
        "vit": "VitEncoder",
        "videomae": "VideomaeEncoder",
        "swin": "SwinEncoder",
        "slices": "SlicesEncoder",
        "vit_slices": "VitSlicesEncoder",
    },
    base="hilum.encoders.base:Encoder",
    room="hilum.encoders",
)
