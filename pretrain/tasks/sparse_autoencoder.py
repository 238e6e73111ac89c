"""SparK: masked autoencoding for convolutions that never see what is hidden."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple
from hilum.encoders.base import Encoder
from hilum.encoders.decoders.pyramid import PyramidDecoder
from hilum.encoders.networks import Output, reconstructions_of

from ..base import PretextBatch, PretextTask
from ..parts.masked_mse import countable, mean_squares, named, weighted_mean, with_holes
from ..parts.masking import check_blocks, hide_share
from ..parts.sparse import sparse, unfit


class SparseAutoencoder(PretextTask):
    r"""Encode visible patches only, as sparse convolutions would, then reconstruct the masked ones.

    A dense convolution over an image with holes changes the statistics of its features with the
    mask ratio, and the mask wears away from layer to layer. Here every convolution's output is set
    to zero where it is hidden, and norms count visible places only. Before the decoder, each
    level's holes get a learned vector. The loss is that of `masked_autoencoder`; places are hidden
    in all modalities alike, since the first convolution mixes them.

    Source:
        Tian et al., "Designing BERT for Convolutional Networks" (SparK), ICLR 2023,
        arXiv:2301.03580, sections 3.1 to 3.3. Computed densely with masks: the result of sparse
        convolutions, not their speed. Ours: instance norm; the loss counts the body only.

    Args:
        encoder: Convolutional, with instance norm: `resenc`, `segresnet`, `unet3d`.
        modalities: Name of each channel.
        ratio: Fraction of the blocks to hide, above 0 and below 1.
        block: Coarsest voxels along the side of a block.
    """

    citation = (
        "Tian, K. and others",
        "Designing BERT for Convolutional Networks",
        "ICLR",
        2023,
        "arXiv:2301.03580",
    )

    def __init__(
        self, *, encoder: Encoder, modalities: Sequence[str], ratio: float = 0.6, block: int = 1
    ) -> None:
        super().__init__()
        if not 0 < ratio < 1:
            raise SettingsError(
                "the mask ratio must be above 0 and below 1", found=ratio, remedy="try 0.6"
            )
        if block < 1:
            raise SettingsError("a block must have at least 1 coarsest voxel", found=block)
        if kinds := unfit(encoder):
            raise SettingsError(
                "sparse_autoencoder needs an encoder of convolutions and instance norms",
                found=", ".join(kinds),
                remedy="use resenc, or the task masked_autoencoder",
            )
        self.modalities, self.ratio = tuple(modalities), ratio
        self.encoder = encoder
        d, h, w = (block * step for step in encoder.strides[-1])
        self.block: IntTriple = (d, h, w)
        count = len(self.modalities)
        self.decoder = PyramidDecoder(encoder.channels, encoder.strides, count, False, None)
        self.fill = nn.ParameterList(nn.Parameter(torch.zeros(c)) for c in encoder.channels)

    def loss(self, batch: PretextBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and the mean squared error of each modality that counts."""
        places = self.hide(batch)
        rebuilt = self.rebuild(batch.image, places)
        each, count = mean_squares(rebuilt, batch.image, places & countable(batch))
        return weighted_mean(each, count, torch.ones_like(each)), named(
            "mse", self.modalities, each, count
        )

    def outputs(self) -> tuple[Output, ...]:
        """Return that each channel reconstructs its modality."""
        return reconstructions_of(self.modalities)

    def pictures(self, batch: PretextBatch) -> dict[str, Tensor]:
        """Return the input, what the network saw of it, and the input with its holes filled."""
        places = self.hide(batch)
        hidden = places & batch.available[:, :, None, None, None]
        return with_holes(batch.image, hidden, self.rebuild(batch.image, places))

    def hide(self, batch: PretextBatch) -> Tensor:
        """Draw what is hidden: booleans `[B, 1, D, H, W]`."""
        return hide_share(
            (len(batch.image), 1, *batch.image.shape[2:]),
            block=self.block,
            ratio=self.ratio,
            shared=True,
            generator=batch.generator,
        )

    def rebuild(self, image: Tensor, hidden: Tensor) -> Tensor:
        """Return the image as it is reconstructed from the places that are not hidden."""
        visible = ~hidden
        with sparse(self.encoder, visible):
            maps = self.encoder(image * visible)
        filled = []
        for level, fill in zip(maps, self.fill, strict=True):
            seen = nn.functional.interpolate(visible.float(), level.shape[2:], mode="nearest") > 0
            filled.append(torch.where(seen, level, fill.view(1, -1, 1, 1, 1).to(level.dtype)))
        return self.decoder(filled)[0]

    def check_patch(self, patch: IntTriple) -> None:
        """Refuse patches that are not whole blocks, or a single one."""
        if any(side % size for side, size in zip(patch, self.block, strict=True)):
            raise SettingsError(
                "a patch must be made of whole blocks",
                found=f"patch {patch} with blocks of {self.block}",
                remedy="choose sides that the block divides",
            )
        check_blocks(patch, self.block)
