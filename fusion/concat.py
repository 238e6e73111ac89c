"""Concatenation of features: an encoder per modality, a learned mixture at every level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hilum.core.types import Available

from .base import FusionStrategy, MakeDecoder, Volumes, check_available
from .pyramids import Maps, common_pyramid, encode, presence


class ConcatFusion(FusionStrategy):
    r"""Stack the feature maps of all modalities and mix them by a 1x1x1 convolution.

    $$F^l = b^l + \frac{M}{\sum_m a_m} \sum_m W_m^l (a_m F_m^l) + \sum_m (1 - a_m) p_m^l,$$

    with a learned vector $p_m^l$ for a modality that is absent. $W_m$ starts as $1/M$ times the
    identity and $p$ at zero: at step 0 this is the mean over what is available.

    Source:
        Concatenation as in Dolz et al., "HyperDense-Net", IEEE TMI 2019, arXiv:1804.02967, at one
        place per level; the start and the placeholders are ours.
    """

    citation = ("Dolz, J. and others", "HyperDense-Net", "IEEE TMI", 2019, "arXiv:1804.02967")

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        encoders: Mapping[str, nn.Module],
        make_decoder: MakeDecoder,
    ) -> None:
        super().__init__(modalities=modalities, encoders=encoders, make_decoder=make_decoder)
        channels, strides = common_pyramid([encoders[m] for m in self.modalities])
        self.decoder = make_decoder(channels, strides)
        self.mix = nn.ModuleDict(
            {f"{name}_{i}": _scaled_identity(c, len(self.modalities))
             for i, c in enumerate(channels) for name in self.modalities}
        )  # fmt: skip
        self.placeholder = nn.ParameterDict(
            {
                f"{name}_{i}": torch.zeros(c)
                for i, c in enumerate(channels)
                for name in self.modalities
            }
        )
        self.shift = nn.ParameterList([torch.zeros(c) for c in channels])

    def forward(self, volumes: Volumes, available: Available) -> list[Tensor]:
        """Encode each modality, mix level by level, decode."""
        check_available(available)
        present = presence(self, available)
        levels = encode(self, volumes, present)
        return self.decoder([self._mixed(i, maps, present) for i, maps in enumerate(levels)])

    def _mixed(self, level: int, maps: Maps, present: Mapping[str, Tensor]) -> Tensor:
        count = sum(present[name].to(maps[name].dtype) for name in maps)
        total = self.shift[level].view(1, -1, 1, 1, 1)
        for name, x in maps.items():
            mixed = self.mix[f"{name}_{level}"](x) * (len(maps) / count)  # pyright: ignore
            instead = self.placeholder[f"{name}_{level}"].view(1, -1, 1, 1, 1)
            total = total + torch.where(present[name], mixed, instead.to(mixed))
        return total


def _scaled_identity(channels: int, parts: int) -> nn.Conv3d:
    """Return a 1x1x1 convolution that divides by `parts`."""
    mix = nn.Conv3d(channels, channels, 1, bias=False)
    with torch.no_grad():
        mix.weight.copy_(torch.eye(channels).view(channels, channels, 1, 1, 1) / parts)
    return mix
