"""Learn an encoder from unlabelled scans."""

from .base import PretextTask
from .cross_modal import CrossModal
from .cross_modal_contrast import CrossModalContrast
from .masked_autoencoder import MaskedAutoencoder
from .misalignment import Misalignment
from .multimodal_tokens import MultimodalTokens

TASKS: dict[str, type[PretextTask]] = {
    "masked_autoencoder": MaskedAutoencoder,
    "cross_modal": CrossModal,
    "multimodal_tokens": MultimodalTokens,
    "cross_modal_contrast": CrossModalContrast,
    "misalignment": Misalignment,
}
