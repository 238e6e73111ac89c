"""Early fusion: the modalities are the channels of one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hilum.core.types import Available

from .base import FusionStrategy, MakeDecoder, Volumes, check_available


class EarlyFusion(FusionStrategy):
    """Concatenate the modalities and let one network look at all of them from the first layer on.

    The reference of every comparison: winners of HECKTOR and autoPET use it. A modality that is
    absent is a volume of one learned value, which starts at 0.

    Source:
        Isensee et al., "nnU-Net", Nature Methods 2021; the learned value is ours.
    """

    by_column = ("placeholder",)

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        encoders: Mapping[str, nn.Module],
        make_decoder: MakeDecoder,
    ) -> None:
        super().__init__(modalities=modalities, encoders=encoders, make_decoder=make_decoder)
        encoder = encoders["all"]
        self.decoder = make_decoder(encoder.channels, encoder.strides)  # pyright: ignore[reportArgumentType]
        self.placeholder = nn.Parameter(torch.zeros(len(self.modalities)))

    @classmethod
    def inputs(cls, modalities: Sequence[str], **params: object) -> dict[str, tuple[str, ...]]:
        """Return one encoder that sees every modality."""
        return {"all": tuple(modalities)}

    def forward(self, volumes: Volumes, available: Available) -> list[Tensor]:
        """Predict from the stacked modalities."""
        check_available(available)
        channels = [
            torch.where(
                self.column(name, available),
                volumes[name],
                self.placeholder[index].to(volumes[name]),
            )
            for index, name in enumerate(self.modalities)
        ]
        return self.decoder(self.encoders["all"](torch.cat(channels, 1)))
