"""How several modalities become one prediction: early, late and in between."""

from .base import FusionStrategy
from .bottleneck import BottleneckFusion
from .concat import ConcatFusion
from .cross_attention import CrossAttentionFusion
from .decoders import DecodersFusion
from .deformable import DeformableFusion
from .early import EarlyFusion
from .film import FilmFusion
from .gated import GatedFusion
from .late import LateFusion
from .late_evidence import LateEvidenceFusion
from .late_product import LateProductFusion
from .late_uncertainty import LateUncertaintyFusion
from .mean import MeanFusion
from .shared import SharedFusion
from .single import SingleFusion
from .stems import StemsFusion
from .variational import VariationalFusion

STRATEGIES: dict[str, type[FusionStrategy]] = {
    "single": SingleFusion,
    "early": EarlyFusion,
    "stems": StemsFusion,
    "shared": SharedFusion,
    "mean": MeanFusion,
    "concat": ConcatFusion,
    "gated": GatedFusion,
    "film": FilmFusion,
    "cross_attention": CrossAttentionFusion,
    "deformable": DeformableFusion,
    "bottleneck": BottleneckFusion,
    "variational": VariationalFusion,
    "decoders": DecodersFusion,
    "late": LateFusion,
    "late_uncertainty": LateUncertaintyFusion,
    "late_product": LateProductFusion,
    "late_evidence": LateEvidenceFusion,
}
