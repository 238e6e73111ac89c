"""How several modalities become one prediction: early, late and in between."""

from .base import FusionStrategy
from .cross_attention import CrossAttentionFusion
from .early import EarlyFusion
from .late import LateFusion
from .single import SingleFusion

STRATEGIES: dict[str, type[FusionStrategy]] = {
    "single": SingleFusion,
    "early": EarlyFusion,
    "late": LateFusion,
    "cross_attention": CrossAttentionFusion,
}
