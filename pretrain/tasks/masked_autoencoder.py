"""Masked autoencoding for paired scans: mask blocks, reconstruct them, count the body only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor, nn

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple
from hilum.encoders.base import Encoder
from hilum.encoders.decoders.pyramid import PyramidDecoder
from hilum.encoders.networks import Output, reconstructions_of

from ..base import PretextBatch, PretextTask
from ..parts.masked_mse import countable, mean_squares, named, weighted_mean, with_holes
from ..parts.masking import (
    block_sides,
    check_blocks,
    check_split,
    grid_of_blocks,
    hide_by_dirichlet,
    hide_share,
    keep_one,
    to_voxels,
)


class MaskedAutoencoder(PretextTask):
    r"""Mask a fraction of the patches of every modality and reconstruct them from the rest.

    With the image $x$, the reconstructed $\hat x$, and for modality $m$ the set $C_m$ of voxels
    that are hidden, inside the body, inside the field of view, and of a case that has $m$,

    $$L = \sum_m w_m \frac{1}{|C_m|} \sum_{v \in C_m} (\hat x_{mv} - x_{mv})^2 \Big/ \sum_m w_m,$$

    over the modalities with $|C_m| > 0$; without any the loss is 0. So PET's empty air counts as
    little as the table under the patient, and a rare modality counts as much as a common one.

    The whole image, hidden parts replaced by a token, goes through the encoder (dense, as in
    nnssl's `MAETrainer`): any encoder works as it is. With independent masks CT can be
    reconstructed from PET and the reverse, which teaches what the modalities share; with shared
    masks each place is hidden in all of them. A `dirichlet` split leaves a fixed fraction of all
    blocks visible, which a random draw divides over the modalities: one sample shows mostly CT,
    another mostly PET.

    Source:
        He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, arXiv:2111.06377;
        in 3D with convolutions: Wald et al., "Revisiting MAE pre-training for 3D medical image
        segmentation", CVPR 2025, arXiv:2410.23132. Independent masks follow Bachmann et al.,
        "MultiMAE", ECCV 2022, arXiv:2204.01678, and so does the split (section 3.2). Ours: the
        loss counts the body and the field of view only, and each modality by its own count. A fill
        with the mean and a weight of 0.2 for what is visible are those of MAE for PET/CT
        (github.com/liu-xiaofeng/MAE-for-PET-CT); one masked modality is MUST-PET's (2026).

    Args:
        encoder: Encoder with one input channel per modality.
        modalities: Name of each channel.
        ratio: Fraction of the blocks to hide, above 0 and below 1.
        block: Side of a block in voxels.
        masks: `independent` or `shared` over modalities, or `one`: in each sample one modality
            that it has, drawn at random, is masked, and the others stay whole.
        token: `zero` hides with 0, `learned` with one learned value per modality, `mean` with the
            mean of what stays visible of the modality inside the body.
        visible: Weight of the error of what stays visible, next to 1 of what is hidden.
        weights: Weight of a modality in the loss, 1 if not named.
        split: `even` hides `ratio` of each modality, `dirichlet` of all modalities together.
        alpha: Concentration of the split; 1 makes every split as likely, more makes it more even.
        drop: Probability of the split to hide a modality in full; never all of a sample.
    """

    citation = (
        "He, K. and others",
        "Masked Autoencoders Are Scalable Vision Learners",
        "CVPR",
        2022,
        "arXiv:2111.06377",
    )

    def __init__(
        self,
        *,
        encoder: Encoder,
        modalities: Sequence[str],
        ratio: float = 0.65,
        block: int | Sequence[int] = 8,
        masks: str = "independent",
        token: str = "zero",
        weights: Mapping[str, float] | None = None,
        split: str = "even",
        alpha: float = 1.0,
        drop: float = 0.0,
        visible: float = 0.0,
    ) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        _check(self.modalities, ratio, masks, token, weights or {})
        _check_split(split, masks, alpha, drop)
        if not 0 <= visible < float("inf"):
            raise SettingsError("visible must be a weight of at least 0", found=visible)
        self.split, self.alpha, self.drop = split, alpha, drop
        self.visible, self.fill = visible, token
        self.ratio, self.block, self.masks = ratio, block_sides(block), masks
        self.encoder = encoder
        self.decoder = PyramidDecoder(
            encoder.channels, encoder.strides, len(self.modalities), False, None
        )
        tokens = torch.zeros(len(self.modalities))
        self.token = nn.Parameter(tokens) if token == "learned" else None
        shares = [float((weights or {}).get(name, 1.0)) for name in self.modalities]
        self.register_buffer("weights", torch.tensor(shares), persistent=False)

    def loss(self, batch: PretextBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and the mean squared error of each modality that counts."""
        hidden, there, weights = self.hide(batch), countable(batch), self.get_buffer("weights")
        rebuilt = self.rebuild(batch.image, hidden, there)
        each, count = mean_squares(rebuilt, batch.image, hidden & there)
        loss = weighted_mean(each, count, weights)
        if self.visible:
            seen = mean_squares(rebuilt, batch.image, ~hidden & there)
            loss = loss + self.visible * weighted_mean(*seen, weights)
        return loss, named("mse", self.modalities, each, count)

    def outputs(self) -> tuple[Output, ...]:
        """Return that each channel reconstructs its modality."""
        return reconstructions_of(self.modalities)

    def pictures(self, batch: PretextBatch) -> dict[str, Tensor]:
        """Return the input, what the network saw of it, and the input with its holes filled."""
        hidden = self.hide(batch)
        return with_holes(batch.image, hidden, self.rebuild(batch.image, hidden, countable(batch)))

    def hide(self, batch: PretextBatch) -> Tensor:
        """Draw what is hidden: booleans like the image; never in a modality that is absent."""
        if self.split == "dirichlet":
            sides = batch.image.shape[2:]
            blocks = prod(grid_of_blocks(sides, self.block))
            hidden = hide_by_dirichlet(
                batch.available, blocks, self.ratio, self.alpha, self.drop, batch.generator
            )
            return to_voxels(hidden, sides, self.block)
        hidden = hide_share(
            batch.image.shape,
            block=self.block,
            ratio=self.ratio,
            shared=self.masks == "shared",
            generator=batch.generator,
        )
        if self.masks == "one":
            chosen = keep_one(batch.available, batch.generator)
            return hidden & chosen[:, :, None, None, None]
        return hidden & batch.available[:, :, None, None, None]

    def rebuild(self, image: Tensor, hidden: Tensor, there: Tensor | None = None) -> Tensor:
        """Return the image as the network reconstructs it from what is not hidden.

        Args:
            image: The input.
            hidden: Booleans like the image.
            there: What a mean is taken over, booleans like the image; all if not given.
        """
        token = image.new_zeros(()) if self.token is None else self.token.view(-1, 1, 1, 1)
        if self.fill == "mean":
            token = visible_mean(image, ~hidden if there is None else ~hidden & there)
        return self.decoder(self.encoder(torch.where(hidden, token.to(image.dtype), image)))[0]

    def check_patch(self, patch: IntTriple) -> None:
        """Refuse patches of a single block, where all or nothing would be hidden."""
        check_blocks(patch, self.block)


def visible_mean(image: Tensor, counted: Tensor) -> Tensor:
    """Return the mean of the counted voxels of each sample and modality, `[B, M, 1, 1, 1]`.

    0 where none counts.
    """
    axes = (2, 3, 4)
    total = torch.where(counted, image.float(), 0.0).sum(axes, keepdim=True)
    return total / counted.sum(axes, keepdim=True).clamp(min=1)


def _check(
    modalities: Sequence[str], ratio: float, masks: str, token: str, weights: Mapping[str, float]
) -> None:
    if not 0 < ratio < 1:
        raise SettingsError(
            "the mask ratio must be above 0 and below 1", found=ratio, remedy="try 0.65"
        )
    if masks not in ("independent", "shared", "one"):
        raise SettingsError(
            "masks must be independent, shared or one",
            found=repr(masks),
            remedy="choose one of these",
        )
    if token not in ("zero", "learned", "mean"):
        raise SettingsError(
            "token must be zero, learned or mean", found=repr(token), remedy="choose one of these"
        )
    strangers = sorted(set(weights) - set(modalities))
    if strangers or any(weight < 0 for weight in weights.values()):
        raise SettingsError(
            f"weights must be for {', '.join(modalities)} and not negative",
            found=dict(weights),
            remedy="as in {ct: 1, pet: 1}",
        )
    if modalities and not any(weights.get(name, 1.0) > 0 for name in modalities):
        raise SettingsError(
            "one weight must be above 0", found=dict(weights), remedy="raise one of them"
        )


def _check_split(split: str, masks: str, alpha: float, drop: float) -> None:
    if split not in ("even", "dirichlet"):
        raise SettingsError(
            "split must be even or dirichlet", found=repr(split), remedy="choose one of them"
        )
    if split == "dirichlet" and masks != "independent":
        raise SettingsError(
            "a dirichlet split needs independent masks",
            found=f"masks {masks}",
            remedy="set masks: independent",
        )
    if split == "even" and drop:
        raise SettingsError(
            "drop needs split dirichlet",
            found=f"drop {drop}, split even",
            remedy="set split: dirichlet, or drop: 0",
        )
    check_split(alpha, drop)
