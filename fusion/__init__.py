"""How several modalities become one prediction: early, late and in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hilum.core.registry import Table

if TYPE_CHECKING:
    from .base import FusionStrategy

# Lazy: torch takes seconds to import, and a listing needs none of it.
STRATEGIES: Table[type[FusionStrategy]] = Table(
    "fusion",
    {
        "single": "SingleFusion",
        "early": "EarlyFusion",
        "stems": "StemsFusion",
        "shared": "SharedFusion",
        "mean": "MeanFusion",
        "concat": "ConcatFusion",
        "gated": "GatedFusion",
        "film": "FilmFusion",
        "cross_attention": "CrossAttentionFusion",
        "deformable": "DeformableFusion",
        "bottleneck": "BottleneckFusion",
        "variational": "VariationalFusion",
        "decoders": "DecodersFusion",
        "late": "LateFusion",
        "late_uncertainty": "LateUncertaintyFusion",
        "late_product": "LateProductFusion",
        "late_evidence": "LateEvidenceFusion",
    },
    base="hilum.fusion.base:FusionStrategy",
    room="hilum.fusion",
)
