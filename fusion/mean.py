"""Mean fusion: an encoder per modality, features averaged at every level, one decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from hilum.core.types import Available

from .base import FusionStrategy, MakeDecoder, Volumes, check_available
from .pyramids import common_pyramid, encode, masked_mean, presence


class MeanFusion(FusionStrategy):
    r"""Average the feature maps over the modalities that a case has.

    $$F^l = \sum_m a_m F_m^l / \sum_m a_m.$$

    No parameter of its own: what every other fusion of features has to beat.

    Source:
        Havaei et al., "HeMIS", MICCAI 2016, arXiv:1607.05194, the mean of its two moments.
    """

    citation = (
        "Havaei, M. and others",
        "HeMIS: Hetero-Modal Image Segmentation",
        "MICCAI",
        2016,
        "arXiv:1607.05194",
    )

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        encoders: Mapping[str, nn.Module],
        make_decoder: MakeDecoder,
    ) -> None:
        super().__init__(modalities=modalities, encoders=encoders, make_decoder=make_decoder)
        self.decoder = make_decoder(*common_pyramid([encoders[m] for m in self.modalities]))

    def forward(self, volumes: Volumes, available: Available) -> list[Tensor]:
        """Encode each modality, decode their mean."""
        check_available(available)
        present = presence(self, available)
        levels = encode(self, volumes, present)
        return self.decoder([masked_mean(maps, present) for maps in levels])
