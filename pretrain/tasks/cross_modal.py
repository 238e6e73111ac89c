"""Predict one modality of a paired scan from the others: PET from CT, and CT from PET."""

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
from ..parts.masked_mse import countable, defined, mean_squares, weighted_mean, with_holes
from ..parts.masking import block_sides, check_blocks, grid_of_blocks, hide_counts, to_voxels


class CrossModal(PretextTask):
    r"""Mask most or all of one modality, the target, and reconstruct it from the others.

    Each sample draws a target $t$ from what it has, by `directions`, and a ratio $r$ from
    `ratio`. Of the target $\mathrm{round}(rn)$ of the $n$ blocks are hidden, of each other modality
    $\mathrm{round}(cn)$ with $c$ = `context`. With $C_m$ the voxels of modality $m$ that are hidden
    as a target's, inside the body and inside the field of view, the loss is

    $$L = \sum_m w_m \frac{1}{|C_m|} \sum_{v \in C_m} (\hat x_{mv} - x_{mv})^2 \Big/ \sum_m w_m$$

    over the modalities with $|C_m| > 0$. A sample with one modality has nothing to predict it from
    and is a plain masked autoencoder's: `alone` of its blocks are hidden.

    PET does not follow from CT: a target that is hidden in full teaches the mean uptake of each
    organ, which is what the mean squared error asks for. A few visible blocks of the target, as the
    default leaves in most samples, tell the patient's own scale.

    Source:
        Rui et al., "Multi-modal Vision Pre-training for Medical Image Analysis" (BrainMVP), CVPR
        2025, arXiv:2410.10604 (cross-modal reconstruction: masked parts of one
        sequence are reconstructed with another's help), on the masking of Bachmann et al.,
        "MultiMAE", ECCV 2022, arXiv:2204.01678. Ours: one target per sample, hidden by a ratio of
        up to 1, nothing of the other modality is pasted into the holes, and only the body counts.
        No source tests CT to PET as a pretext for segmentation: take it as an arm of a study.

    Args:
        encoder: Encoder with one input channel per modality.
        modalities: Name of each channel.
        ratio: Fraction of the target's blocks to hide, above 0; a number, or lowest and highest of
            what each sample draws.
        context: Fraction of the blocks to hide in the modalities that are no target, below 1.
        alone: Fraction of the blocks to hide in a sample with one modality, above 0 and below 1.
        block: Side of a block in voxels, or three.
        directions: Probability of a modality to be the target, against the others', 1 if not named.
        token: `zero` hides with 0, `learned` with one learned value per modality, which tells what
            is hidden from what is absent.
        weights: Weight of a modality as the target in the loss, 1 if not named.
    """

    def __init__(
        self,
        *,
        encoder: Encoder,
        modalities: Sequence[str],
        ratio: float | Sequence[float] = (0.75, 1.0),
        context: float = 0.0,
        alone: float = 0.65,
        block: int | Sequence[int] = 8,
        directions: Mapping[str, float] | None = None,
        token: str = "learned",
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        self.low, self.high = _range(ratio)
        _check(context, alone, token, len(self.modalities))
        self.context, self.alone, self.block = context, alone, block_sides(block)
        self.encoder = encoder
        self.decoder = PyramidDecoder(
            encoder.channels, encoder.strides, len(self.modalities), False, None
        )
        tokens = torch.zeros(len(self.modalities))
        self.token = nn.Parameter(tokens) if token == "learned" else None
        chances = per_modality(directions or {}, self.modalities, "directions")
        self.register_buffer("chances", torch.tensor(chances), persistent=False)
        shares = per_modality(weights or {}, self.modalities, "weights")
        self.register_buffer("weights", torch.tensor(shares), persistent=False)

    def loss(self, batch: PretextBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and the mean squared error of each direction that is in the batch."""
        target, hidden = self.hide(batch)
        rebuilt = self.rebuild(batch.image, hidden)
        counted = hidden & target[:, :, None, None, None] & countable(batch)
        each, count = mean_squares(rebuilt, batch.image, counted)
        loss = weighted_mean(each, count, self.get_buffer("weights"))
        with torch.no_grad():
            return loss, self._terms(rebuilt, batch, counted)

    def hide(self, batch: PretextBatch) -> tuple[Tensor, Tensor]:
        """Draw the target of each sample, and what is hidden.

        Returns:
            Booleans `[B, M]`, one true per sample that has a modality; and booleans like the
            image, never true in a modality that is absent.
        """
        sides, generator = batch.image.shape[2:], batch.generator
        blocks, have = prod(grid_of_blocks(sides, self.block)), batch.available
        chances = self.get_buffer("chances") * have
        # All that a sample has may have a chance of 0: then each is as likely.
        chances = torch.where(chances.sum(1, keepdim=True) > 0, chances, 1.0 * have)
        drawn = torch.rand(have.shape, generator=generator, device=generator.device)
        # The largest u ** (1 / p) is the one with chance p, as of Efraimidis and Spirakis.
        keys = drawn.clamp(min=1e-9).log() / chances.clamp(min=1e-9)
        keys = keys.masked_fill(chances <= 0, float("-inf"))
        target = torch.zeros_like(have).scatter_(1, keys.argmax(1, keepdim=True), True) & have
        among = torch.rand(len(have), 1, generator=generator, device=generator.device)
        ratio = self.low + (self.high - self.low) * among
        ratio = torch.where(have.sum(1, keepdim=True) > 1, ratio, self.alone)
        wanted = (ratio * blocks).round().clamp(min=1)
        spare = torch.full_like(wanted, min(round(self.context * blocks), blocks - 1))
        counts = torch.where(target, wanted, spare)
        # Alone, something must stay visible.
        counts = torch.where(have.sum(1, keepdim=True) > 1, counts, counts.clamp(max=blocks - 1))
        hidden = to_voxels(hide_counts(counts, blocks, generator), sides, self.block)
        return target, hidden & have[:, :, None, None, None]

    def rebuild(self, image: Tensor, hidden: Tensor) -> Tensor:
        """Return the image as the network reconstructs it from what is not hidden."""
        token = image.new_zeros(()) if self.token is None else self.token.view(-1, 1, 1, 1)
        return self.decoder(self.encoder(torch.where(hidden, token.to(image.dtype), image)))[0]

    def outputs(self) -> tuple[Output, ...]:
        """Return that each channel reconstructs its modality."""
        return reconstructions_of(self.modalities)

    def pictures(self, batch: PretextBatch) -> dict[str, Tensor]:
        """Return, for each modality as the target, the input without it and its reconstruction."""
        volumes = {"input": batch.image}
        for channel, name in enumerate(self.modalities):
            one = torch.zeros_like(batch.available)
            one[:, channel] = batch.available[:, channel]
            hidden = one[:, :, None, None, None].expand_as(batch.image)
            rebuilt = self.rebuild(batch.image, hidden).float()
            volumes[f"{name} of rest"] = torch.where(hidden, rebuilt, batch.image)
        _, hidden = self.hide(batch)
        return volumes | with_holes(batch.image, hidden, self.rebuild(batch.image, hidden))

    def check_patch(self, patch: IntTriple) -> None:
        """Refuse patches of a single block, where a scan alone would be hidden in full."""
        check_blocks(patch, self.block)

    def _terms(self, rebuilt: Tensor, batch: PretextBatch, counted: Tensor) -> dict[str, Tensor]:
        """Return the error of each direction, and of each modality alone, where there are such."""
        alone, terms = batch.available.sum(1) == 1, {}
        counts = [sum(have) for have in batch.have]
        kinds = {"from": ~alone} if max(counts) > 1 else {}
        for kind, samples in (kinds | ({"alone": alone} if 1 in counts else {})).items():
            own = counted & samples[:, None, None, None, None]
            each, count = mean_squares(rebuilt, batch.image, own)
            for name, value in zip(self.modalities, defined(each, count), strict=True):
                rest = "_".join(other for other in self.modalities if other != name)
                terms[f"mse/{name}_{kind}" + (f"_{rest}" if kind == "from" else "")] = value
        return terms


def per_modality(given: Mapping[str, float], modalities: Sequence[str], what: str) -> list[float]:
    """Return a value per modality, 1 if not given, checked: none negative, one above 0."""
    strangers = sorted(set(given) - set(modalities))
    if strangers or any(value < 0 for value in given.values()):
        raise SettingsError(
            f"{what} must be for {', '.join(modalities)} and not negative",
            found=dict(given),
            remedy="name each modality, with a number from 0 on",
        )
    values = [float(given.get(name, 1.0)) for name in modalities]
    if not any(value > 0 for value in values):
        raise SettingsError(
            f"one of the {what} must be above 0", found=dict(given), remedy="raise one of them"
        )
    return values


def _range(ratio: float | Sequence[float]) -> tuple[float, float]:
    ends = (float(ratio),) * 2 if isinstance(ratio, (int, float)) else tuple(ratio)
    if len(ends) != 2 or not 0 < ends[0] <= ends[1] <= 1:
        raise SettingsError(
            "the ratio of the target must be above 0 and at most 1, or two such, lowest first",
            found=ratio,
            remedy="try [0.75, 1.0]",
        )
    return ends[0], ends[1]


def _check(context: float, alone: float, token: str, modalities: int) -> None:
    if modalities < 2:
        raise SettingsError(
            "cross_modal needs two modalities or more",
            found=modalities,
            remedy="use masked_autoencoder",
        )
    if not 0 <= context < 1:
        raise SettingsError("context must be at least 0 and below 1", found=context)
    if not 0 < alone < 1:
        raise SettingsError("alone must be above 0 and below 1", found=alone, remedy="try 0.65")
    if token not in ("zero", "learned"):
        raise SettingsError(
            "token must be zero or learned", found=repr(token), remedy="choose one of them"
        )
