"""A decoder per modality above one shared bottleneck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from hilum.core.types import Available

from .base import FusionStrategy, MakeDecoder, Volumes, check_available
from .networks import own_decoders
from .pyramids import common_pyramid, encode, masked_mean, presence


class DecodersFusion(FusionStrategy):
    r"""Share the coarsest features, decode each modality with its own skips, average the logits.

    $$F^L = \sum_m a_m F_m^L / \sum_m a_m, \quad
      z = \sum_m a_m D_m(F_m^1, \dots, F_m^{L-1}, F^L) / \sum_m a_m.$$

    Between mean fusion and late fusion: the networks agree on what there is, and each says where.

    Source:
        Shared latent space with modality-specific decoders as in Chartsias et al., "Multimodal MR
        Synthesis", IEEE TMI 2018, here for segmentation.
    """

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        encoders: Mapping[str, nn.Module],
        make_decoder: MakeDecoder,
    ) -> None:
        super().__init__(modalities=modalities, encoders=encoders, make_decoder=make_decoder)
        common_pyramid([encoders[m] for m in self.modalities])
        self.decoders = own_decoders(self.modalities, encoders, make_decoder)

    def forward(self, volumes: Volumes, available: Available) -> list[Tensor]:
        """Encode each modality, share the coarsest level, decode each, average."""
        check_available(available)
        present = presence(self, available)
        *fine, coarse = encode(self, volumes, present)
        shared = masked_mean(coarse, present)
        every = [
            self.decoders[name]([*(maps[name] for maps in fine), shared])
            for name in self.modalities
        ]
        return [
            masked_mean(dict(zip(self.modalities, level, strict=True)), present)
            for level in zip(*every, strict=True)
        ]
