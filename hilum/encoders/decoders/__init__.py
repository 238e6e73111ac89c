"""From a pyramid back to an image: one file per decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hilum.core.registry import Table

if TYPE_CHECKING:
    from .base import Decoder

DECODERS: Table[type[Decoder]] = Table(
    "decoders",
    {
        "pyramid": "PyramidDecoder",
        "linear": "LinearDecoder",
        "nnunet": "NnunetDecoder",
        "stunet": "StunetDecoder",
        "unet3d": "Unet3dDecoder",
        "swin_unetr": "SwinUnetrDecoder",
        "segresnet": "SegresnetDecoder",
        "segresnet_ds": "SegresnetDsDecoder",
    },
    base="hilum.encoders.decoders.base:Decoder",
    room="hilum.encoders.decoders",
)
"""Decoders by name; all but `pyramid` and `linear` are those of other tools' whole networks."""
