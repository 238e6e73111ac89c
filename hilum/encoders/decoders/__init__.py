"""From a pyramid back to an image: one file per decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hilum.core.registry import LazyTable

if TYPE_CHECKING:
    from .base import Decoder

DECODERS: LazyTable[Decoder] = LazyTable(
    "hilum.encoders.decoders",
    {
        "pyramid": "PyramidDecoder",
        "linear": "LinearDecoder",
    },
)
"""Decoders by name; all but `pyramid` and `linear` are those of other tools' whole networks."""
