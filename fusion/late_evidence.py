"""Late fusion by Dempster-Shafer: each network may say that it does not know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from hilum.core.types import Available

from .base import FusionStrategy, MakeDecoder, Volumes, check_available
from .networks import own_decoders, predict, rows


class LateEvidenceFusion(FusionStrategy):
    r"""Combine beliefs by Dempster's rule; an absent modality knows nothing.

    Logits become evidence $e = \operatorname{softplus}(z)$, masses $b_c = e_c / S$ and ignorance
    $u = C / S$ with $S = \sum_c e_c + C$. Two opinions combine to

    $$b_c \propto b_c^1 b_c^2 + b_c^1 u^2 + b_c^2 u^1, \qquad u \propto u^1 u^2.$$

    The output is the log of the expected probability $b_c + u / C$, so that losses on logits fit.

    Source:
        Han et al., "Trusted Multi-View Classification", ICLR 2021, arXiv:2102.02051, equations 2
        and 4; for PET/CT Huang et al., arXiv:2108.05422.
    """

    citation = (
        "Han, Z. and others",
        "Trusted Multi-View Classification",
        "ICLR",
        2021,
        "arXiv:2102.02051",
    )

    exclusive = True

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        encoders: Mapping[str, nn.Module],
        make_decoder: MakeDecoder,
    ) -> None:
        super().__init__(modalities=modalities, encoders=encoders, make_decoder=make_decoder)
        self.decoders = own_decoders(self.modalities, encoders, make_decoder)

    def forward(self, volumes: Volumes, available: Available) -> list[Tensor]:
        """Predict from each modality, then combine the beliefs."""
        check_available(available)
        present = rows(self, available)
        levels = predict(self, self.decoders, volumes, available)
        return [_combined(level, present) for level in levels]


def _combined(logits: Tensor, present: Tensor) -> Tensor:
    classes = logits.shape[2]
    evidence = F.softplus(logits.float()) * present
    total = evidence.sum(2, keepdim=True) + classes
    belief, ignorance = evidence / total, classes / total
    b, u = belief[0], ignorance[0]
    for other_b, other_u in zip(belief[1:], ignorance[1:], strict=True):
        joint, unknown = b * other_b + b * other_u + other_b * u, u * other_u
        agreed = joint.sum(1, keepdim=True) + unknown
        b, u = joint / agreed, unknown / agreed
    return (b + u / classes).log().to(logits.dtype)
