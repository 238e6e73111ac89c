"""SimCLR: two random views of a place are alike, views of other places are not."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hilum.core.errors import SettingsError
from hilum.encoders.base import Encoder

from ..base import PretextBatch, PretextTask
from ..parts.contrast import Projection, nt_xent


class Simclr(PretextTask):
    """Contrast two augmented views of each patch by NT-Xent on pooled features.

    A contrast arm for comparisons: it needs large batches, and for segmentation it is behind masked
    reconstruction in every study that we know of.

    Source:
        Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML
        2020, arXiv:2002.05709. Views are hilum's augmentation; the features of all levels are
        pooled and joined, so that the fine ones learn, too, which is ours.

    Args:
        encoder: Encoder with one input channel per modality.
        modalities: Name of each channel.
        temperature: Above 0.
        width: Channels of the projection.
    """

    citation = (
        "Chen, T. and others",
        "A Simple Framework for Contrastive Learning of Visual Representations",
        "ICML",
        2020,
        "arXiv:2002.05709",
    )

    views = 2
    least_batch = 2

    def __init__(
        self,
        *,
        encoder: Encoder,
        modalities: Sequence[str],
        temperature: float = 0.2,
        width: int = 128,
    ) -> None:
        super().__init__()
        if temperature <= 0 or width < 1:
            raise SettingsError(
                "temperature must be above 0, width at least 1", found=f"{temperature} and {width}"
            )
        self.modalities, self.temperature = tuple(modalities), temperature
        self.encoder = encoder
        self.projection = Projection(sum(encoder.channels), width)

    def loss(self, batch: PretextBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return NT-Xent, and how often a view's nearest neighbour is its twin."""
        one, two = (self.keys(view.image) for view in (batch, *batch.others))
        keys = torch.cat([one, two]).detach()
        likeness = (keys @ keys.T).fill_diagonal_(-2)
        twin = (torch.arange(len(keys), device=keys.device) + len(one)) % len(keys)
        found = (likeness.argmax(1) == twin).float().mean()
        loss = nt_xent(one, two, self.temperature)
        return loss, {"contrast": loss.detach(), "twin_found": found}

    def keys(self, image: Tensor) -> Tensor:
        """Return a unit vector per sample, from the pooled features of all levels."""
        pooled = [level.float().mean((2, 3, 4)) for level in self.encoder(image)]
        return self.projection(torch.cat(pooled, 1))
