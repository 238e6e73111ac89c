"""Separate stems: a small network per modality, then one encoder for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hilum.core.types import Available

from .base import FusionStrategy, MakeDecoder, Volumes, blank, check_available


class StemsFusion(FusionStrategy):
    r"""Let each modality enter the shared encoder through a stem of its own.

    $$x = \sum_m a_m (e_m x_m + S_m(x_m)),$$

    where $e_m$ puts a modality into its channel of the encoder and $S_m$ is two 3x3x3 convolutions
    whose last starts at zero: at step 0 this is early fusion with empty channels for what is
    absent, so an encoder pretrained on all modalities is not disturbed. An absent modality adds
    nothing.

    Source:
        Separate first layers as in Dolz et al., "IVD-Net", MICCAI CSI 2018, arXiv:1811.08305; the
        residual start is ours.

    Args:
        width: Channels inside each stem.
    """

    citation = ("Dolz, J. and others", "IVD-Net", "MICCAI CSI", 2018, "arXiv:1811.08305")

    by_column = (r"stems\..*\.2\..*",)

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        encoders: Mapping[str, nn.Module],
        make_decoder: MakeDecoder,
        width: int = 8,
    ) -> None:
        super().__init__(modalities=modalities, encoders=encoders, make_decoder=make_decoder)
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        encoder = encoders["all"]
        self.decoder = make_decoder(encoder.channels, encoder.strides)  # pyright: ignore[reportArgumentType]
        self.stems = nn.ModuleDict({name: _stem(width, len(modalities)) for name in modalities})

    @classmethod
    def inputs(cls, modalities: Sequence[str], **params: object) -> dict[str, tuple[str, ...]]:
        """Return one encoder that sees every modality."""
        return {"all": tuple(modalities)}

    def forward(self, volumes: Volumes, available: Available) -> list[Tensor]:
        """Predict from the sum of the stems."""
        check_available(available)
        stacked = []
        total: Tensor | int = 0
        for name in self.modalities:
            present = self.column(name, available)
            own = blank(volumes[name], present)
            stacked.append(own)
            seen = self.stems[name](own)
            total = total + torch.where(present, seen, torch.zeros_like(seen))
        return self.decoder(self.encoders["all"](torch.cat(stacked, 1) + total))


def _stem(width: int, out: int) -> nn.Sequential:
    last = nn.Conv3d(width, out, 3, padding=1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)  # pyright: ignore[reportArgumentType]
    return nn.Sequential(nn.Conv3d(1, width, 3, padding=1), nn.GELU(), last)
