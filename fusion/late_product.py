"""Late fusion by a product of experts: each network's odds against the prior are multiplied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..core.types import Available
from .base import FusionStrategy, MakeDecoder, Volumes, check_available
from .networks import own_decoders, predict, rows


class LateProductFusion(FusionStrategy):
    r"""Multiply the posteriors of one network per modality and divide the prior out again.

    $$\log p = \sum_m a_m \log p_m - (\sum_m a_m - 1) \log \pi + \text{const},$$

    which is Bayes' rule for modalities that are independent given the class. The prior $\pi$ of the
    classes is learned, and starts at `prior` for each foreground class. Correlated modalities make
    it over-confident.

    Source:
        Hinton, "Training Products of Experts", Neural Computation 2002, with the class prior
        divided out as in naive Bayes.

    Args:
        prior: Expected share of each foreground class at the start.
        classes: Output channels of the decoders.
    """

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        encoders: Mapping[str, nn.Module],
        make_decoder: MakeDecoder,
        prior: float = 0.01,
        classes: int = 2,
    ) -> None:
        super().__init__(modalities=modalities, encoders=encoders, make_decoder=make_decoder)
        if not 0 < prior * max(classes - 1, 1) < 1:
            raise ValueError(f"priors must be above 0 and leave a background, got {prior=}")
        self.decoders = own_decoders(self.modalities, encoders, make_decoder)
        share = torch.full((classes,), prior)
        share[0] = 1 - prior * (classes - 1)
        self.log_prior = nn.Parameter(share.log())

    @classmethod
    def inputs(cls, modalities: Sequence[str], **params: object) -> dict[str, tuple[str, ...]]:
        """Return an encoder per modality."""
        return {name: (name,) for name in modalities}

    def forward(self, volumes: Volumes, available: Available) -> list[Tensor]:
        """Predict from each modality, then multiply."""
        check_available(available)
        present = rows(self, available)
        levels = predict(self, self.decoders, volumes, available)
        return [self._product(level, present) for level in levels]

    def _product(self, logits: Tensor, present: Tensor) -> Tensor:
        if logits.shape[2] != len(self.log_prior):
            raise ValueError(
                f"classes must be {logits.shape[2]} as the decoders have, got {len(self.log_prior)}"
            )
        log_p = logits.float().log_softmax(2)
        total = torch.where(present, log_p, torch.zeros_like(log_p)).sum(0)
        prior = self.log_prior.log_softmax(0).view(1, -1, 1, 1, 1)
        return (total - (present.sum(0) - 1) * prior).to(logits.dtype)
