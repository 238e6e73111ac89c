"""Maximum fusion: an encoder per modality, the largest feature of those that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hilum.core.types import Available
from hilum.fusion.base import FusionStrategy, MakeDecoder, Volumes, check_available
from hilum.fusion.pyramids import common_pyramid, encode, presence


class MaximumFusion(FusionStrategy):
    """Take the maximum of the feature maps over the modalities that a case has."""

    citation = ("Mine, A. and others", "Fusion by Maximum", "", 2026, "")

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        encoders: Mapping[str, nn.Module],
        make_decoder: MakeDecoder,
    ) -> None:
        super().__init__(modalities=modalities, encoders=encoders, make_decoder=make_decoder)
        self.decoder = make_decoder(*common_pyramid([encoders[m] for m in self.modalities]))

    @classmethod
    def inputs(cls, modalities: Sequence[str], **params: object) -> dict[str, tuple[str, ...]]:
        """Return an encoder per modality."""
        return {name: (name,) for name in modalities}

    def forward(self, volumes: Volumes, available: Available) -> list[Tensor]:
        """Encode each modality, decode their maximum."""
        check_available(available)
        present = presence(self, available)
        levels = encode(self, volumes, present)
        return self.decoder([_maximum(maps, present) for maps in levels])


def _maximum(maps: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
    lowest = {name: torch.full_like(x, -torch.inf) for name, x in maps.items()}
    return torch.stack([torch.where(present[n], x, lowest[n]) for n, x in maps.items()]).amax(0)
