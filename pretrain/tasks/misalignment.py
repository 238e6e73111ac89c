"""Predict by how many mm one modality lies off another, and reconstruct the scan as it was."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple
from hilum.datasets.augmentation.settings import AugmentationSettings
from hilum.encoders.base import Encoder
from hilum.encoders.decoders.pyramid import PyramidDecoder
from hilum.encoders.networks import Output, reconstructions_of

from ..base import PretextBatch, PretextTask
from ..parts.masked_mse import countable, defined, mean_squares, named, weighted_mean
from ..parts.masking import block_sides, check_blocks, grid_of_blocks, hide_counts, to_voxels
from ..parts.shift_head import ShiftHead, longest_shift, spacing_of


class Moved(NamedTuple):
    """A batch with its modalities moved against the first one.

    Attributes:
        image: `[B, M, D, H, W]`, zero where not `common`.
        common: `[B, 1, D, H, W]` booleans: what every modality that a sample has covers, less a
            margin as wide as the longest shift.
        voxels: `[B, M, 3]`, by how many voxels the task moved each modality.
        mm: `[B, M, 3]`, by how many mm each modality lies off the first one, all told.
        known: `[B, M]` booleans: whether that is known, and the first modality is there.
    """

    image: Tensor
    common: Tensor
    voxels: Tensor
    mm: Tensor
    known: Tensor


class Misalignment(PretextTask):
    r"""Say by how much each modality was moved against the first, from how their features agree.

    A modality is moved by whole voxels, $s$ in mm along the axes of the patch, each part uniform
    up to `longest`. Each modality is encoded alone; with the decoder's features $f^{a}$ of the
    first and $f^{b}$ of the moved one, of mean 0 over what both cover, averaged over `step` voxels,

    $$c(\delta) = \frac{\sum_x \langle f^{a}_x, f^{b}_{x + \delta} \rangle}
    {\sqrt{\sum_x |f^{a}_x|^2 \sum_x |f^{b}_x|^2}}, \qquad
    \hat s = \sum_\delta \mathrm{softmax}_\delta(\kappa c(\delta)) \, \delta, \qquad
    L = \frac{1}{\ell} \mathrm{Huber}_{d}(\hat s - s) + \lambda L_\mathrm{rec},$$

    with $\ell$ = `longest`, and Huber summed over the axes. With $\lambda$ = `rebuild` above 0 all
    modalities, moved, go in together with `ratio` of their blocks hidden, and $L_\mathrm{rec}$ is
    the mean squared error per modality against the scan before the move: PET that lies off CT must
    be brought back to where it belongs. The margin that moved voxels came in over is blanked in all
    modalities, and so is what one of them does not cover: else an edge would tell the shift.

    Features that find the shift are alike in CT and PET at one place and sharp enough to tell
    neighbours apart. Samples without the first or without another modality have no part in the
    first term; a batch without any pair has none at all.

    Augmentation moves modalities, too (`augmentation.misalign`), but along the axes of the
    patient, before it turns and mirrors the patch. With `source: own` samples that it moved are
    left out of the first term. `source: augmentation` predicts its shift and moves nothing; it
    needs `rotation.p`, `scale.p`, `mirror` and `misalign_turn` of 0.

    Source:
        Correlation of two feature maps over displacements is Dosovitskiy et al., "FlowNet", ICCV
        2015, arXiv:1504.06852, section 3; the expected place of a softmax is Kendall et al.,
        "End-to-End Learning of Geometry and Context for Deep Stereo Regression", ICCV 2017,
        arXiv:1703.04309, section 3.4. As a pretext for paired scans it is ours, and untested by
        others: take it as an arm of a study.

    Args:
        encoder: Encoder with one input channel per modality.
        modalities: Name of each channel; the first is what the others are moved against.
        spacing: mm per voxel of the store, along depth, height and width.
        longest: Longest shift along an axis, mm.
        source: `own` shifts of whole voxels, or those of `augmentation`.
        step: Voxels that features are averaged over before they are compared, or three.
        dim: Channels that are compared.
        delta: Error in mm from which Huber's loss is linear.
        rebuild: Weight of the reconstruction; 0 for none.
        ratio: Fraction of the blocks to hide for it, above 0 and below 1.
        block: Side of a block in voxels, or three.
    """

    small: ClassVar = {"spacing": [3, 2, 2], "longest": 6.0, "dim": 4}

    def __init__(
        self,
        *,
        encoder: Encoder,
        modalities: Sequence[str],
        spacing: Sequence[float],
        longest: float = 12.0,
        source: str = "own",
        step: int | Sequence[int] = 2,
        dim: int = 16,
        delta: float = 2.0,
        rebuild: float = 1.0,
        ratio: float = 0.65,
        block: int | Sequence[int] = 8,
    ) -> None:
        super().__init__()
        self.modalities, self.spacing = tuple(modalities), spacing_of(spacing)
        _check(len(self.modalities), source, delta, rebuild, ratio, dim)
        self.most = longest_shift(longest, self.spacing)
        self.longest, self.source, self.delta = longest, source, delta
        self.weight, self.ratio, self.block = rebuild, ratio, block_sides(block)
        self.step, self.dim = block_sides(step), dim
        self.encoder = encoder
        outputs = dim + (len(self.modalities) if rebuild else 0)
        self.decoder = PyramidDecoder(encoder.channels, encoder.strides, outputs, False, None)
        self.head = ShiftHead(self.step, self.most, self.spacing)

    def check_augmentation(self, given: AugmentationSettings) -> None:
        """Refuse a source of shifts that turns the patch afterwards, or that never shifts."""
        after = {"rotation.p": given.rotation.p, "scale.p": given.scale.p}
        after |= {"mirror": max(given.mirror), "misalign_turn": given.misalign_turn}
        if self.source == "augmentation" and any(after.values()):
            raise SettingsError(
                "source: augmentation knows a shift only where nothing turns the patch after it",
                found=", ".join(f"augmentation.{key} above 0" for key, p in after.items() if p),
                remedy="set these to 0, or source=own",
            )
        shifts = given.misalign_p and any(map(given.misalign.get, self.modalities))
        if self.source == "augmentation" and not shifts:
            raise SettingsError(
                "source: augmentation needs an augmentation that shifts a modality",
                found=f"misalign_p {given.misalign_p:g}, misalign {given.misalign}",
                remedy="raise augmentation.misalign_p, or set source=own",
            )

    def loss(self, batch: PretextBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return loss, mean error in mm, that of saying 0, and reconstruction errors."""
        moved = self.move(batch)
        total, terms = self._shifts(moved)
        if self.weight:
            rebuilt, hidden = self.rebuild(moved, batch)
            counted = hidden & moved.common & countable(batch)
            each, count = mean_squares(rebuilt, batch.image, counted)
            total = total + self.weight * weighted_mean(each, count, torch.ones_like(each))
            terms |= named("mse", self.modalities, each, count)
        return total, terms

    def move(self, batch: PretextBatch) -> Moved:
        """Draw the shifts, and apply them."""
        have, device = batch.available, batch.image.device
        known = have & have[:, :1]
        most = np.array(self.most)
        drawn = batch.shapes.integers(-most, most + 1, (*have.shape, 3)) * (self.source == "own")
        drawn[:, 0] = 0
        voxels = torch.from_numpy(drawn).to(device, non_blocking=True) * known[..., None]
        given = batch.shift if batch.shift is not None else batch.image.new_zeros(voxels.shape)
        given = given - given[:, :1]
        may = known
        if self.source == "own":
            known = known & (given == 0).all(2)
        mm = voxels * torch.tensor(self.spacing).to(device, non_blocking=True) + given
        image = _rolled(batch.image, drawn, may)
        common = self.inside(batch.image).expand(batch.body.shape)
        if batch.field_of_view is not None:
            absent = ~have[:, :, None, None, None]
            seen = _rolled(batch.field_of_view, drawn, may) | absent
            common = common & seen.all(1, keepdim=True)
        return Moved(torch.where(common, image, 0.0), common, voxels, mm, known)

    def inside(self, image: Tensor) -> Tensor:
        """Return booleans of an image's sides: true but for the margin."""
        inner = torch.zeros(image.shape[2:], dtype=torch.bool, device=image.device)
        d, h, w = (slice(m, s - m) for m, s in zip(self.most, image.shape[2:], strict=True))
        inner[d, h, w] = True
        return inner

    def predict(self, moved: Moved, channel: int, rows: Tensor | slice) -> Tensor:
        """Return the shift in mm, `[R, 3]`, of a modality against the first, in these samples."""
        image, common = moved.image[rows], moved.common[rows]
        pair = []
        for one in (0, channel):
            alone = torch.zeros_like(image)
            alone[:, one] = image[:, one]
            pair.append(alone)
        features = self.decoder(self.encoder(torch.cat(pair)))[0][:, : self.dim]
        first, second = features.chunk(2)
        return self.head(first, second, common)

    def rebuild(self, moved: Moved, batch: PretextBatch) -> tuple[Tensor, Tensor]:
        """Return the scan as reconstructed from the moved one with holes, and the holes."""
        sides = batch.image.shape[2:]
        blocks = prod(grid_of_blocks(sides, self.block))
        count = min(max(round(self.ratio * blocks), 1), blocks - 1)
        counts = torch.full_like(batch.available, count, dtype=torch.long)
        hidden = to_voxels(hide_counts(counts, blocks, batch.generator), sides, self.block)
        hidden = hidden & batch.available[:, :, None, None, None]
        seen = torch.where(hidden, 0.0, moved.image)
        return self.decoder(self.encoder(seen))[0][:, self.dim :], hidden

    def outputs(self) -> tuple[Output, ...]:
        """Return that the first channels describe a place, and the others reconstruct one."""
        places = tuple(Output(kind="unknown", name=f"feature {n}") for n in range(self.dim))
        return (*places, *(reconstructions_of(self.modalities) if self.weight else ()))

    def pictures(self, batch: PretextBatch) -> dict[str, Tensor]:
        """Return the input, it moved, it moved back by the prediction, and it reconstructed."""
        moved = self.move(batch)
        nan = torch.full_like(batch.image, float("nan"))
        undone = moved.image.clone()
        for channel in range(1, len(self.modalities)):
            rows = moved.known[:, channel].nonzero()[:, 0]
            if len(rows):
                found = self.predict(moved, channel, rows) / torch.tensor(
                    self.spacing, device=rows.device
                )
                for row, step in zip(rows.tolist(), found.round().long().tolist(), strict=True):
                    back = [-n for n in step]
                    undone[row, channel] = moved.image[row, channel].roll(back, (0, 1, 2))
        volumes = {
            "input": batch.image,
            "moved": torch.where(moved.common, moved.image, nan),
            "moved back": undone,
        }
        if self.weight:
            rebuilt, hidden = self.rebuild(moved, batch)
            volumes["holes"] = torch.where(hidden | ~moved.common, nan, moved.image)
            volumes["rebuilt"] = torch.where(moved.common, rebuilt.float(), nan)
        return volumes

    def check_patch(self, patch: IntTriple) -> None:
        """Refuse patches of which the margins take more than half, or of a single block."""
        if any(side < 4 * most for side, most in zip(patch, self.most, strict=True)):
            raise SettingsError(
                "a patch side must be four times the longest shift, or more",
                found=f"patch {patch} with shifts of up to {self.most} voxels",
                remedy="lower task.longest or enlarge patch",
            )
        check_blocks(patch, self.block)

    def _shifts(self, moved: Moved) -> tuple[Tensor, dict[str, Tensor]]:
        """Return Huber's loss over `longest`, averaged over the modalities, and errors in mm."""
        parts, terms = [], {}
        counts = moved.known[:, 1:].sum(0)
        for channel, name in list(enumerate(self.modalities))[1:]:
            known, count = moved.known[:, channel], counts[channel - 1]
            # Every sample, and those that do not count left out of the mean: which they are need
            # not be known on the host, and every process has a gradient for every weight.
            found, true = self.predict(moved, channel, slice(None)), moved.mm[:, channel]
            error = F.huber_loss(found, true, reduction="none", delta=self.delta).sum(1)
            parts.append(_mean(error, known))
            apart, still = (found - true).detach().norm(dim=1), true.norm(dim=1)
            terms[f"error_mm/{name}"] = defined(_mean(apart, known), count)
            terms[f"still_mm/{name}"] = defined(_mean(still, known), count)
        each = torch.stack(parts)
        return weighted_mean(each, counts, torch.ones_like(each)) / self.longest, terms


def _mean(values: Tensor, known: Tensor) -> Tensor:
    return torch.where(known, values, 0.0).sum() / known.sum().clamp(min=1)


def _rolled(volumes: Tensor, steps: np.ndarray, where: Tensor) -> Tensor:
    """Return `[B, M, D, H, W]`, each volume rolled by its steps `[B, M, 3]` where `[B, M]` says."""
    moved = torch.stack(
        [
            torch.stack([x.roll(step, (0, 1, 2)) for x, step in zip(row, own, strict=True)])
            for row, own in zip(volumes, steps.tolist(), strict=True)
        ]
    )
    return torch.where(where[:, :, None, None, None], moved, volumes)


def _check(
    modalities: int, source: str, delta: float, rebuild: float, ratio: float, dim: int
) -> None:
    if modalities < 2:
        raise SettingsError(
            "misalignment needs two modalities or more",
            found=modalities,
            remedy="prepare CT and PET, or choose another task",
        )
    if source not in ("own", "augmentation"):
        raise SettingsError(
            "source must be own or augmentation", found=repr(source), remedy="choose one of them"
        )
    if delta <= 0:
        raise SettingsError("delta must be above 0 mm", found=delta)
    if rebuild < 0:
        raise SettingsError("rebuild must not be negative", found=rebuild)
    if not 0 < ratio < 1:
        raise SettingsError(
            "the mask ratio must be above 0 and below 1", found=ratio, remedy="try 0.65"
        )
    if dim < 1:
        raise SettingsError("dim must be at least 1", found=dim)
