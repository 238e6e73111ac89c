"""Late fusion by certainty: each network counts by how sure it is, voxel by voxel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hilum.core.types import Available

from .base import FusionStrategy, MakeDecoder, Volumes, check_available
from .networks import own_decoders, predict, rows


class LateUncertaintyFusion(FusionStrategy):
    r"""Average the logits of one network per modality, weighted by low entropy.

    $$z = \sum_m w_m z_m, \quad w = \operatorname{softmax}_{m: a_m = 1}(-s H(p_m) / \log C),$$

    with $p_m = \operatorname{softmax}(z_m / T_m)$, its entropy $H$, the number of classes $C$, a
    learned temperature $T_m$ per modality and the setting `sharpness` $s$.

    Source:
        Inverse-uncertainty weighting; temperatures as in Guo et al., "On Calibration of Modern
        Neural Networks", ICML 2017, arXiv:1706.04599, learned here with everything else.

    Args:
        sharpness: 0 is the plain mean; large values let the surest network decide alone.
    """

    citation = (
        "Guo, C. and others",
        "On Calibration of Modern Neural Networks",
        "ICML",
        2017,
        "arXiv:1706.04599",
    )

    exclusive = True

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        encoders: Mapping[str, nn.Module],
        make_decoder: MakeDecoder,
        sharpness: float = 4.0,
    ) -> None:
        super().__init__(modalities=modalities, encoders=encoders, make_decoder=make_decoder)
        if sharpness < 0:
            raise ValueError(f"sharpness must not be negative, got {sharpness}")
        self.decoders = own_decoders(self.modalities, encoders, make_decoder)
        self.sharpness = sharpness
        self.log_temperature = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(())) for name in self.modalities}
        )

    def forward(self, volumes: Volumes, available: Available) -> list[Tensor]:
        """Predict from each modality, then average by certainty."""
        check_available(available)
        present = rows(self, available)
        levels = predict(self, self.decoders, volumes, available)
        return [self._combined(level, present) for level in levels]

    def insight(self, volumes: Volumes, available: Available) -> dict[str, Tensor]:
        """Return the weight of each modality's network at full resolution."""
        level = predict(self, self.decoders, volumes, available)[0]
        share = self._shares(level, rows(self, available))
        return {f"gate_{name}": x for name, x in zip(self.modalities, share, strict=True)}

    def _combined(self, logits: Tensor, present: Tensor) -> Tensor:
        share = self._shares(logits, present).to(logits.dtype)
        return torch.where(present, share * logits, torch.zeros_like(logits)).sum(0)

    def _shares(self, logits: Tensor, present: Tensor) -> Tensor:
        heat = torch.stack([self.log_temperature[m].exp() for m in self.modalities])
        log_p = (logits / heat.view(-1, 1, 1, 1, 1, 1).to(logits)).float().log_softmax(2)
        entropy = -(log_p.exp() * log_p).sum(2, keepdim=True) / math.log(max(logits.shape[2], 2))
        score = torch.where(present, -self.sharpness * entropy, -torch.inf)
        return score.softmax(0)
