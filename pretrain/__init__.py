"""Learn an encoder from unlabelled scans. Called, the room does what `hilum pretrain` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hilum.core.callable_module import calls
from hilum.core.registry import Table

if TYPE_CHECKING:
    from .base import PretextTask

# Lazy: torch takes seconds to import, and a listing needs none of it.
TASKS: Table[type[PretextTask]] = Table(
    "pretext",
    {
        "masked_autoencoder": "MaskedAutoencoder",
        "sparse_autoencoder": "SparseAutoencoder",
        "simmim": "Simmim",
        "models_genesis": "ModelsGenesis",
        "volume_fusion": "VolumeFusion",
        "synthetic_nodes": "SyntheticNodes",
        "swin_triple": "SwinTriple",
        "self_distillation": "SelfDistillation",
        "dino": "Dino",
        "simclr": "Simclr",
        "voco": "Voco",
        "cross_modal": "CrossModal",
        "multimodal_tokens": "MultimodalTokens",
        "cross_modal_contrast": "CrossModalContrast",
        "misalignment": "Misalignment",
        "joint": "Joint",
    },
    base="hilum.pretrain.base:PretextTask",
    room="hilum.pretrain.tasks",
)

calls(__name__, "hilum.pretrain.run:pretrain")
