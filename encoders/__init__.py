"""From an image to a pyramid of features, and from a pyramid back to an image."""

from ..core.registry import LazyTable
from .base import Encoder

# Lazy: timm, transformers and MONAI take seconds to import.
ENCODERS: LazyTable[Encoder] = LazyTable(
    "hilum.encoders",
    {
        "resenc": "ResencEncoder",
        "segresnet": "SegresnetEncoder",
        "timm_cnn": "TimmCnnEncoder",
        "vit_slices": "VitSlicesEncoder",
    },
)
