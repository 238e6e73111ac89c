"""One modality alone: the baseline that a fusion has to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from hilum.core.types import Available

from .base import FusionStrategy, MakeDecoder, Volumes, blank, check_available


class SingleFusion(FusionStrategy):
    """Look at one modality and ignore the others; equal in capacity to one branch of the rest.

    A case without that modality is an input of zeros: the prediction is then what the network
    believes without looking.

    Args:
        modality: The one to look at.
    """

    small: ClassVar = {"modality": "pet"}

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        encoders: Mapping[str, nn.Module],
        make_decoder: MakeDecoder,
        modality: str,
    ) -> None:
        super().__init__(modalities=modalities, encoders=encoders, make_decoder=make_decoder)
        self.modality = modality
        encoder = encoders[modality]
        self.decoder = make_decoder(encoder.channels, encoder.strides)  # pyright: ignore[reportArgumentType]

    @classmethod
    def inputs(cls, modalities: Sequence[str], **params: object) -> dict[str, tuple[str, ...]]:
        """Return one encoder, for the one modality."""
        modality = str(params.get("modality"))
        if modality not in modalities:
            raise ValueError(f"modality must be one of {', '.join(modalities)}, got {modality!r}")
        return {modality: (modality,)}

    def forward(self, volumes: Volumes, available: Available) -> list[Tensor]:
        """Predict from the one modality."""
        check_available(available)
        present = self.column(self.modality, available)
        return self.decoder(self.encoders[self.modality](blank(volumes[self.modality], present)))
