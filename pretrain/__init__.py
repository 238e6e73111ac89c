"""Learn an encoder from unlabelled scans."""

from .base import PretextTask
from .cross_modal import CrossModal
from .cross_modal_contrast import CrossModalContrast
from .dino import Dino
from .masked_autoencoder import MaskedAutoencoder
from .misalignment import Misalignment
from .models_genesis import ModelsGenesis
from .multimodal_tokens import MultimodalTokens
from .self_distillation import SelfDistillation
from .simclr import Simclr
from .simmim import Simmim
from .sparse_autoencoder import SparseAutoencoder
from .swin_triple import SwinTriple
from .voco import Voco
from .volume_fusion import VolumeFusion

TASKS: dict[str, type[PretextTask]] = {
    "masked_autoencoder": MaskedAutoencoder,
    "sparse_autoencoder": SparseAutoencoder,
    "simmim": Simmim,
    "models_genesis": ModelsGenesis,
    "volume_fusion": VolumeFusion,
    "swin_triple": SwinTriple,
    "self_distillation": SelfDistillation,
    "dino": Dino,
    "simclr": Simclr,
    "voco": Voco,
    "cross_modal": CrossModal,
    "multimodal_tokens": MultimodalTokens,
    "cross_modal_contrast": CrossModalContrast,
    "misalignment": Misalignment,
}
