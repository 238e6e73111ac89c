"""Late fusion: a network per modality, and their predictions are averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from hilum.core.types import Available

from .base import FusionStrategy, MakeDecoder, Volumes, check_available
from .networks import own_decoders, predict, rows


class LateFusion(FusionStrategy):
    r"""Average the logits of one whole network per modality over those that are available.

    $$z = \sum_m a_m w_m z_m / \sum_m a_m w_m.$$

    Twice the parameters and time of one network; the modalities may come from different cohorts.

    Source:
        Andrearczyk et al., MIDL 2020 (late fusion of PET and CT networks).

    Args:
        weights: `mean`, or `learned`: one positive weight per modality, equal at the start.
    """

    citation = (
        "Andrearczyk, V. and others",
        "Automatic Segmentation of Head and Neck Tumors and Nodal Metastases in PET-CT Scans",
        "MIDL",
        2020,
        "",
    )

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        encoders: Mapping[str, nn.Module],
        make_decoder: MakeDecoder,
        weights: Literal["mean", "learned"] = "mean",
    ) -> None:
        super().__init__(modalities=modalities, encoders=encoders, make_decoder=make_decoder)
        self.decoders = own_decoders(self.modalities, encoders, make_decoder)
        start = torch.zeros(len(self.modalities))
        self.log_weight = nn.Parameter(start) if weights == "learned" else None

    def forward(self, volumes: Volumes, available: Available) -> list[Tensor]:
        """Predict from each modality, then average."""
        check_available(available)
        weight = available.float()
        if self.log_weight is not None:
            weight = weight * self.log_weight.exp()
        weight = weight / weight.sum(1, keepdim=True)
        present = rows(self, available)
        share = weight.T.reshape(present.shape)
        levels = predict(self, self.decoders, volumes, available)
        return [
            torch.where(present, share.to(z.dtype) * z, torch.zeros_like(z)).sum(0) for z in levels
        ]
