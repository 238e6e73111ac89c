"""Denoising: take noise out of an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hilum.encoders.base import Encoder
from hilum.pretrain.base import PretextBatch, PretextTask


class Denoise(PretextTask):
    """Predict the image from a noisy one, by a linear layer on each level of the features.

    Args:
        encoder: Encoder with one input channel per modality.
        modalities: Name of each channel.
        noise: Standard deviation of the noise, on the network's scale.
    """

    def __init__(self, *, encoder: Encoder, modalities: Sequence[str], noise: float = 0.3) -> None:
        super().__init__()
        self.encoder, self.noise = encoder, noise
        self.heads = nn.ModuleList(
            nn.Conv3d(channels, len(modalities), 1) for channels in encoder.channels
        )

    def loss(self, batch: PretextBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean absolute error inside the body, where a modality is there."""
        where = batch.body & batch.available[:, :, None, None, None]
        if batch.field_of_view is not None:
            where = where & batch.field_of_view
        error = torch.where(where, self.clean(batch).float() - batch.image.float(), 0.0).abs()
        loss = error.sum() / where.sum().clamp(min=1)
        return loss, {"l1": loss.detach()}

    def pictures(self, batch: PretextBatch) -> dict[str, Tensor]:
        """Return the image and what is made of its noisy form."""
        return {"image": batch.image, "cleaned": self.clean(batch)}

    def clean(self, batch: PretextBatch) -> Tensor:
        """Add noise and take it out."""
        image = batch.image
        drawn = torch.empty_like(image).normal_(generator=batch.generator)
        maps = self.encoder(image + self.noise * drawn)
        sides = image.shape[2:]
        return torch.stack(
            [F.interpolate(head(x), sides) for head, x in zip(self.heads, maps, strict=True)]
        ).sum(0)
