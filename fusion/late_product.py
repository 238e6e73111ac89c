"""Late fusion by a product of experts: each network's odds against the prior are multiplied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hilum.core.types import Available

from .base import FusionStrategy, MakeDecoder, Volumes, check_available
from .networks import own_decoders, predict, rows


class LateProductFusion(FusionStrategy):
    r"""Multiply the posteriors of one network per modality and divide the prior out again.

    $$\log p = \sum_m a_m \log p_m - (\sum_m a_m - 1) \log \pi + \text{const},$$

    which is Bayes' rule for modalities that are independent given the class. The prior $\pi$ of the
    classes is learned, one share for every foreground class, from `prior` on. Correlated
    modalities make it over-confident.

    Source:
        Hinton, "Training Products of Experts", Neural Computation 2002, with the class prior
        divided out as in naive Bayes.

    Args:
        prior: Expected fraction of each foreground class at the start.
    """

    exclusive = True

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        encoders: Mapping[str, nn.Module],
        make_decoder: MakeDecoder,
        prior: float = 0.01,
    ) -> None:
        super().__init__(modalities=modalities, encoders=encoders, make_decoder=make_decoder)
        if not 0 < prior < 1:
            raise ValueError(f"prior must be between 0 and 1, got {prior}")
        self.decoders = own_decoders(self.modalities, encoders, make_decoder)
        # Log odds of a foreground class against the background, the same for each.
        self.log_odds = nn.Parameter(torch.tensor(prior / (1 - prior)).log())

    def forward(self, volumes: Volumes, available: Available) -> list[Tensor]:
        """Predict from each modality, then multiply."""
        check_available(available)
        present = rows(self, available)
        levels = predict(self, self.decoders, volumes, available)
        return [self._product(level, present) for level in levels]

    def forget_prior(self) -> None:
        """Take every class for equally likely."""
        with torch.no_grad():
            self.log_odds.zero_()

    def _product(self, logits: Tensor, present: Tensor) -> Tensor:
        log_p = logits.float().log_softmax(2)
        total = torch.where(present, log_p, torch.zeros_like(log_p)).sum(0)
        odds = self.log_odds.float().expand(logits.shape[2] - 1)
        prior = torch.cat([odds.new_zeros(1), odds]).log_softmax(0).view(1, -1, 1, 1, 1)
        return (total - (present.sum(0) - 1) * prior).to(logits.dtype)
