"""Modulation: each modality's features are scaled and shifted by what the others show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from hilum.core.types import Available

from .base import FusionStrategy, MakeDecoder, Volumes, check_available
from .pyramids import Maps, common_pyramid, encode, masked_mean, others_mean, presence


class FilmFusion(FusionStrategy):
    r"""Let each modality modulate the others, then average.

    $$F_m' = F_m + a \, (\gamma_m(\bar F_{-m}) \odot F_m + \beta_m(\bar F_{-m})),$$

    where $\bar F_{-m}$ is the mean of the other available modalities and $a$ is 0 if there is none.
    With `channel`, $\gamma$ and $\beta$ see averages over the volume, as squeeze-and-excitation
    does; with `voxel` they are 1x1x1 convolutions. Both start at zero: at step 0 this is mean
    fusion.

    Source:
        Perez et al., "FiLM", AAAI 2018, arXiv:1709.07871; Joze et al., "MMTM", CVPR 2020,
        arXiv:1911.08670, for modulation across modalities.

    Args:
        modulation: `channel` or `voxel`.
        squeeze: The hidden layer has a `squeeze`-th of the channels.
    """

    citation = (
        "Perez, E. and others",
        "FiLM: Visual Reasoning with a General Conditioning Layer",
        "AAAI",
        2018,
        "arXiv:1709.07871",
    )

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        encoders: Mapping[str, nn.Module],
        make_decoder: MakeDecoder,
        modulation: Literal["channel", "voxel"] = "channel",
        squeeze: int = 4,
    ) -> None:
        super().__init__(modalities=modalities, encoders=encoders, make_decoder=make_decoder)
        if squeeze < 1:
            raise ValueError(f"squeeze must be at least 1, got {squeeze}")
        channels, strides = common_pyramid([encoders[m] for m in self.modalities])
        self.decoder, self.modulation = make_decoder(channels, strides), modulation
        self.modulators = nn.ModuleDict(
            {
                f"{name}_{level}": _modulator(c, max(c // squeeze, 1))
                for level, c in enumerate(channels)
                for name in (self.modalities if len(self.modalities) > 1 else ())
            }
        )

    def forward(self, volumes: Volumes, available: Available) -> list[Tensor]:
        """Encode each modality, modulate and average level by level, decode."""
        check_available(available)
        present = presence(self, available)
        levels = encode(self, volumes, present)
        fused = [
            masked_mean(self._modulated(level, maps, present), present)
            for level, maps in enumerate(levels)
        ]
        return self.decoder(fused)

    def _modulated(self, level: int, maps: Maps, present: Mapping[str, Tensor]) -> Maps:
        found = {}
        for name, own in maps.items():
            if len(maps) == 1:
                return maps
            seen, some = others_mean(maps, present, name)
            if self.modulation == "channel":
                seen = seen.mean((2, 3, 4), keepdim=True)
            scale, shift = self.modulators[f"{name}_{level}"](seen).chunk(2, 1)
            found[name] = own + torch.where(some, scale * own + shift, torch.zeros_like(own))
        return found


def _modulator(channels: int, hidden: int) -> nn.Sequential:
    last = nn.Conv3d(hidden, 2 * channels, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)  # pyright: ignore[reportArgumentType]
    return nn.Sequential(nn.Conv3d(channels, hidden, 1), nn.GELU(), last)
