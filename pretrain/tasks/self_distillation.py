"""Self-distilled masked modelling: reconstruct masked parts and the teacher's features there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple
from hilum.encoders.base import Encoder
from hilum.encoders.decoders.pyramid import PyramidDecoder
from hilum.encoders.networks import Output, reconstructions_of

from ..base import PretextBatch, PretextTask
from ..parts.masked_mse import countable, mean_squares, weighted_mean
from ..parts.masking import check_blocks, hide_share
from ..parts.prototypes import Centre, PrototypeHead, cross_entropy, entropy
from ..parts.teacher import Teacher, momentum_at


class SelfDistillation(PretextTask):
    r"""Masked image modelling, with the teacher's view of the whole image as a second target.

    The student sees an image with masked blocks, the teacher (its running average) the image.
    With assignments to prototypes at every voxel of the coarsest map,

    $$L = w_r L_{rec} + w_p \operatorname{mean}_{v \in H} H(t_v, s_v) + w_g H(\bar t, \bar s),$$

    $L_{rec}$ the squared error of `masked_autoencoder`, $H$ the hidden voxels of that map inside
    the body, and the last term on pooled features.

    Source:
        Jiang et al., "SMIT", MICCAI 2022, arXiv:2205.10342, section 2; Zhou et al., "iBOT", ICLR
        2022, arXiv:2111.07832, equations 1 to 3. Ours: any encoder, not only Swin; one view; the
        error counts the body, and squares as the other tasks here do.

    Args:
        encoder: Encoder with one input channel per modality.
        modalities: Name of each channel.
        ratio: Fraction of the blocks to hide, above 0 and below 1; a block is one coarsest voxel.
        prototypes: How many.
        student_temperature: Above the teacher's.
        teacher_temperature: Of the targets.
        momentum: Of the teacher at the start.
        weights: Of `reconstruction`, `patch` and `whole`; 1, 0.1 and 0.1 if not named.
    """

    citation = (
        "Zhou, J. and others",
        "iBOT: Image BERT Pre-Training with Online Tokenizer",
        "ICLR",
        2022,
        "arXiv:2111.07832",
    )
    small: ClassVar = {"prototypes": 16}

    least_batch = 2

    def __init__(
        self,
        *,
        encoder: Encoder,
        modalities: Sequence[str],
        ratio: float = 0.65,
        prototypes: int = 512,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.05,
        momentum: float = 0.996,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        names = {"reconstruction": 1.0, "patch": 0.1, "whole": 0.1}
        given = dict(weights or {})
        if set(given) - set(names) or any(w < 0 for w in given.values()):
            raise SettingsError(
                f"weights must be for {', '.join(names)} and not negative",
                found=given,
                remedy="name each of them, with a number from 0 on",
            )
        if not 0 < ratio < 1:
            raise SettingsError(
                "the mask ratio must be above 0 and below 1", found=ratio, remedy="try 0.65"
            )
        if not 0 < teacher_temperature < student_temperature or not 0 <= momentum < 1:
            raise SettingsError(
                "0 < teacher_temperature < student_temperature and 0 <= momentum < 1 must hold",
                found=f"{teacher_temperature}, {student_temperature}, {momentum}",
            )
        self.modalities, self.ratio = tuple(modalities), ratio
        self.weights = names | {key: float(value) for key, value in given.items()}
        self.student_temperature, self.sharpness = student_temperature, teacher_temperature
        self.momentum = momentum
        self.encoder = encoder
        self.block: IntTriple = encoder.strides[-1]
        count = len(self.modalities)
        self.decoder = PyramidDecoder(encoder.channels, encoder.strides, count, False, None)
        self.token = nn.Parameter(torch.zeros(count))
        self.head = PrototypeHead(encoder.channels[-1], prototypes)
        self.teacher = Teacher(nn.ModuleDict({"encoder": encoder, "head": self.head}))
        self.centre, self.whole = Centre(prototypes), Centre(prototypes)

    def loss(self, batch: PretextBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum, its terms, and the teacher's entropy."""
        hidden = self.hide(batch)
        maps = self.encoder(self._masked(batch.image, hidden))
        rebuilt = self.decoder(maps)[0]
        each, count = mean_squares(rebuilt, batch.image, hidden & countable(batch))
        reconstruction = weighted_mean(each, count, torch.ones_like(each))
        student = maps[-1]
        with torch.no_grad():
            own = self.teacher.network
            seen = own.get_submodule("encoder")(batch.image)[-1]
            dense = own.get_submodule("head")(_voxels(seen))
            pooled = own.get_submodule("head")(seen.float().mean((2, 3, 4)))
            targets = self.centre.targets(dense, self.sharpness)
            whole = self.whole.targets(pooled, self.sharpness)
        counts = self._tokens(hidden.any(1, keepdim=True) & batch.body).flatten()
        each_voxel = cross_entropy(targets, self.head(_voxels(student)), self.student_temperature)
        patch = torch.where(counts, each_voxel, 0.0).sum() / counts.sum().clamp(min=1)
        ours = self.head(student.float().mean((2, 3, 4)))
        terms = {
            "reconstruction": reconstruction,
            "patch": patch,
            "whole": cross_entropy(whole, ours, self.student_temperature).mean(),
        }
        if self.training:
            self.centre.follow(dense, counts)
            self.whole.follow(pooled)
        total = torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()
        named = {name: value.detach() for name, value in terms.items()}
        spread = student.detach().float().mean((2, 3, 4)).std(0).mean()
        return total, named | {"teacher_entropy": entropy(targets), "feature_std": spread}

    def outputs(self) -> tuple[Output, ...]:
        """Return that each channel reconstructs its modality."""
        return reconstructions_of(self.modalities)

    def pictures(self, batch: PretextBatch) -> dict[str, Tensor]:
        """Return the input, what the student saw of it, and the input with its holes filled."""
        hidden = self.hide(batch)
        rebuilt = self.decoder(self.encoder(self._masked(batch.image, hidden)))[0].float()
        return {
            "input": batch.image,
            "masked": batch.image.masked_fill(hidden, float("nan")),
            "rebuilt": torch.where(hidden, rebuilt, batch.image),
        }

    def after_step(self, step: int, steps: int) -> None:
        """Let the teacher follow."""
        student = nn.ModuleDict({"encoder": self.encoder, "head": self.head})
        self.teacher.follow(student, momentum_at(step, steps, self.momentum))

    def networks(self) -> dict[str, nn.Module]:
        """Return the teacher's encoder."""
        return {"teacher": self.teacher.network.get_submodule("encoder")}

    def hide(self, batch: PretextBatch) -> Tensor:
        """Draw what is hidden: booleans like the image, the same places in every modality."""
        hidden = hide_share(
            batch.image.shape,
            block=self.block,
            ratio=self.ratio,
            shared=True,
            generator=batch.generator,
        )
        return hidden & batch.available[:, :, None, None, None]

    def check_patch(self, patch: IntTriple) -> None:
        """Refuse patches of a single block, where all or nothing would be hidden."""
        check_blocks(patch, self.block, "enlarge patch, or choose an encoder with smaller strides")

    def _masked(self, image: Tensor, hidden: Tensor) -> Tensor:
        return torch.where(hidden, self.token.view(-1, 1, 1, 1).to(image.dtype), image)

    def _tokens(self, where: Tensor) -> Tensor:
        """Return for each coarsest voxel whether any of its voxels is in `[B, 1, D, H, W]`."""
        return nn.functional.max_pool3d(where.float(), self.block) > 0


def _voxels(features: Tensor) -> Tensor:
    """Return `[B, C, d, h, w]` as `[B * d * h * w, C]`."""
    return features.float().movedim(1, -1).flatten(0, 3)
