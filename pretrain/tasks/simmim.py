"""SimMIM: mask blocks, predict their voxels from the coarse features by one linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import ClassVar

import torch
from torch import Tensor, nn

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple
from hilum.encoders.base import Encoder

from ..base import PretextBatch, PretextTask
from ..parts.masked_mse import AXES, countable, named, weighted_mean, with_holes
from ..parts.masking import check_blocks, hide_share
from ..parts.patches import from_patches


class Simmim(PretextTask):
    r"""Reconstruct masked voxels with one linear layer as the decoder.

    $$L = \operatorname{mean}_m \frac{1}{|C_m|} \sum_{v \in C_m} |\hat x_{mv} - x_{mv}|,$$

    $C_m$ as in `masked_autoencoder`. A learned value per modality stands for what is hidden; the
    prediction is a 1x1x1 convolution of one level's features to the voxels below each of its own.
    Made for Swin; fits every encoder with a level of that stride.

    Source:
        Xie et al., "SimMIM", CVPR 2022, arXiv:2111.09886, sections 3.2 to 3.4: mask ratio 0.6 with
        large blocks, an l1 loss on what is hidden, a linear head. Ours: the token is a value in the
        image, not in the embedding, so that any encoder works; the loss counts the body only.

    Args:
        encoder: Encoder with one input channel per modality.
        modalities: Name of each channel.
        ratio: Fraction of the blocks to hide, above 0 and below 1.
        block: Side of a block in voxels.
        stride: Largest stride of the level that predicts; the coarsest level up to it is taken.
    """

    citation = (
        "Xie, Z. and others",
        "SimMIM: A Simple Framework for Masked Image Modeling",
        "CVPR",
        2022,
        "arXiv:2111.09886",
    )
    small: ClassVar = {"block": 8, "stride": 4}

    def __init__(
        self,
        *,
        encoder: Encoder,
        modalities: Sequence[str],
        ratio: float = 0.6,
        block: int = 16,
        stride: int = 16,
    ) -> None:
        super().__init__()
        if not 0 < ratio < 1:
            raise SettingsError(
                "the mask ratio must be above 0 and below 1", found=ratio, remedy="try 0.6"
            )
        if block < 1:
            raise SettingsError("a block must have at least 1 voxel", found=block)
        fitting = [i for i, steps in enumerate(encoder.strides) if max(steps) <= stride]
        if not fitting:
            raise SettingsError(
                "the encoder must have a level of the stride that predicts",
                found=f"strides {encoder.strides}",
                remedy=f"set task.stride to {max(encoder.strides[0])} or more",
            )
        self.modalities = tuple(modalities)
        self.ratio, self.block, self.level = ratio, (block, block, block), fitting[-1]
        self.encoder = encoder
        self.step: IntTriple = encoder.strides[self.level]
        self.token = nn.Parameter(torch.zeros(len(self.modalities)))
        self.head = nn.Conv3d(
            encoder.channels[self.level], len(self.modalities) * prod(self.step), 1
        )

    def loss(self, batch: PretextBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and the mean absolute error of each modality that counts."""
        hidden = self.hide(batch)
        rebuilt = self.rebuild(batch.image, hidden).float()
        counted = hidden & countable(batch)
        error = torch.where(counted, rebuilt - batch.image.float(), 0.0).abs().sum(AXES)
        count = counted.sum(AXES)
        each = error / count.clamp(min=1)
        return weighted_mean(each, count, torch.ones_like(each)), named(
            "l1", self.modalities, each, count
        )

    def pictures(self, batch: PretextBatch) -> dict[str, Tensor]:
        """Return the input, what the network saw of it, and the input with its holes filled."""
        hidden = self.hide(batch)
        return with_holes(batch.image, hidden, self.rebuild(batch.image, hidden))

    def hide(self, batch: PretextBatch) -> Tensor:
        """Draw what is hidden: booleans like the image, independent over modalities."""
        hidden = hide_share(
            batch.image.shape,
            block=self.block,
            ratio=self.ratio,
            shared=False,
            generator=batch.generator,
        )
        return hidden & batch.available[:, :, None, None, None]

    def rebuild(self, image: Tensor, hidden: Tensor) -> Tensor:
        """Return the image as the linear head predicts it from what is not hidden."""
        token = self.token.view(-1, 1, 1, 1).to(image.dtype)
        maps = self.encoder(torch.where(hidden, token, image))
        values = self.head(maps[self.level]).unflatten(1, (len(self.modalities), -1))
        d, h, w = values.shape[3:]
        return from_patches(values.flatten(3).transpose(2, 3), (d, h, w), self.step)

    def check_patch(self, patch: IntTriple) -> None:
        """Refuse patches of a single block, where all or nothing would be hidden."""
        check_blocks(patch, self.block)
