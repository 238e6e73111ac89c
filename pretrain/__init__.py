"""Learn an encoder from unlabelled scans."""

from .base import PretextTask
from .tasks.cross_modal import CrossModal
from .tasks.cross_modal_contrast import CrossModalContrast
from .tasks.dino import Dino
from .tasks.masked_autoencoder import MaskedAutoencoder
from .tasks.misalignment import Misalignment
from .tasks.models_genesis import ModelsGenesis
from .tasks.multimodal_tokens import MultimodalTokens
from .tasks.self_distillation import SelfDistillation
from .tasks.simclr import Simclr
from .tasks.simmim import Simmim
from .tasks.sparse_autoencoder import SparseAutoencoder
from .tasks.swin_triple import SwinTriple
from .tasks.voco import Voco
from .tasks.volume_fusion import VolumeFusion

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
