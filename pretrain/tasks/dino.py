"""DINO: a student with small views learns what its own running average says of large ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple
from hilum.encoders.base import Encoder

from ..base import PretextBatch, PretextTask
from ..parts.prototypes import Centre, PrototypeHead, cross_entropy, entropy
from ..parts.teacher import Teacher, momentum_at


class Dino(PretextTask):
    r"""Self-distillation without labels over global and local views.

    $$L = \operatorname{mean}_{g, v \neq g} H\bigl(\operatorname{softmax}((t_g - c) / \tau_t),
      \operatorname{softmax}(s_v / \tau_s)\bigr),$$

    $g$ over the two global views, $v$ over these and the local ones, $t$ and $s$ the likeness of
    pooled coarse features to prototypes, by teacher and student. The terms tell a collapse:
    `teacher_entropy` near 1 (all alike) or near 0 with `feature_std` near 0 (one answer for all).

    Source:
        Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021,
        arXiv:2104.14294, section 3.1: centring, sharpening, momentum on a cosine from 0.996. Ours:
        local views are crops of the first global one, with its intensities.

    Args:
        encoder: Encoder with one input channel per modality.
        modalities: Name of each channel.
        prototypes: How many.
        local_views: Crops per patch.
        local: Side of a crop as a fraction of the patch, brought to the encoder's strides.
        student_temperature: Above the teacher's.
        teacher_temperature: At the end of its warm-up, which begins at half of it.
        warmup: Fraction of the steps of that warm-up.
        momentum: Of the teacher at the start.
    """

    citation = (
        "Caron, M. and others",
        "Emerging Properties in Self-Supervised Vision Transformers",
        "ICCV",
        2021,
        "arXiv:2104.14294",
    )
    small: ClassVar = {"prototypes": 16}

    views = 2
    least_batch = 2

    def __init__(
        self,
        *,
        encoder: Encoder,
        modalities: Sequence[str],
        prototypes: int = 1024,
        local_views: int = 2,
        local: float = 0.5,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        warmup: float = 0.1,
        momentum: float = 0.996,
    ) -> None:
        super().__init__()
        if not 0 < teacher_temperature < student_temperature:
            raise SettingsError(
                "the teacher's temperature must be above 0 and below the student's",
                found=f"{teacher_temperature} and {student_temperature}",
            )
        if not 0 < local <= 1 or local_views < 0 or prototypes < 2 or not 0 <= momentum < 1:
            raise SettingsError(
                "local within 0 and 1, local_views from 0, prototypes from 2, momentum below 1",
                found=f"{local}, {local_views}, {prototypes}, {momentum}",
            )
        if not 0 <= warmup <= 1:
            raise SettingsError(
                "warmup must be a fraction of the steps",
                found=warmup,
                remedy="0.1 is the usual one",
            )
        self.modalities, self.local, self.local_views = tuple(modalities), local, local_views
        self.student_temperature, self.momentum = student_temperature, momentum
        self.sharpness, self.warmup = teacher_temperature, warmup
        self.encoder = encoder
        self.head = PrototypeHead(encoder.channels[-1], prototypes)
        self.teacher = Teacher(nn.ModuleDict({"encoder": encoder, "head": self.head}))
        self.centre = Centre(prototypes)
        self.register_buffer("progress", torch.zeros(()))

    def loss(self, batch: PretextBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, the teacher's entropy, and the spread of the student's features."""
        large = [batch.image, *(view.image for view in batch.others)]
        small = [self.crop(batch) for _ in range(self.local_views)]
        features = [self._pooled(self.encoder, image) for image in (*large, *small)]
        scores = [self.head(x) for x in features]
        with torch.no_grad():
            own = self.teacher.network
            taught = [own["head"](self._pooled(own["encoder"], image)) for image in large]  # pyright: ignore
            targets = [self.centre.targets(x, self._temperature()) for x in taught]
        parts = [
            cross_entropy(target, score, self.student_temperature).mean()
            for g, target in enumerate(targets)
            for v, score in enumerate(scores)
            if v != g
        ]
        loss = torch.stack(parts).mean()
        if self.training:
            self.centre.follow(torch.cat(taught))
        spread = features[0].detach().std(0).mean()
        named = {"distillation": loss.detach(), "feature_std": spread}
        return loss, named | {"teacher_entropy": entropy(torch.cat(targets))}

    def after_step(self, step: int, steps: int) -> None:
        """Let the teacher follow."""
        student = nn.ModuleDict({"encoder": self.encoder, "head": self.head})
        self.teacher.follow(student, momentum_at(step, steps, self.momentum))
        self.get_buffer("progress").fill_(step / steps)

    def networks(self) -> dict[str, nn.Module]:
        """Return the teacher's encoder, which is usually the better one."""
        return {"teacher": self.teacher.network.get_submodule("encoder")}

    def crop(self, batch: PretextBatch) -> Tensor:
        """Cut a local view from the first global one, one place per sample."""
        sides = self._local(batch.image.shape[2:])
        rows, shapes = [], batch.shapes
        for image in batch.image:
            free = [n - s for n, s in zip(image.shape[1:], sides, strict=True)]
            d, h, w = (int(u * (f + 1)) for u, f in zip(shapes.random(3), free, strict=True))
            rows.append(image[:, d : d + sides[0], h : h + sides[1], w : w + sides[2]])
        return torch.stack(rows)

    def check_patch(self, patch: IntTriple) -> None:
        """Refuse patches whose local views the encoder cannot take."""
        if self.local_views:
            self.encoder.check_sides(self._local(patch))  # pyright: ignore[reportCallIssue]

    def _local(self, sides: Sequence[int]) -> IntTriple:
        last = self.encoder.strides[-1]  # pyright: ignore[reportIndexIssue]
        d, h, w = (max(round(self.local * n / s), 1) * s for n, s in zip(sides, last, strict=True))  # pyright: ignore
        return int(d), int(h), int(w)

    def _temperature(self) -> Tensor:
        share = (self.get_buffer("progress") / max(self.warmup, 1e-9)).clamp(max=1.0)
        return self.sharpness * (0.5 + 0.5 * share)

    @staticmethod
    def _pooled(encoder: nn.Module, image: Tensor) -> Tensor:
        return encoder(image)[-1].float().mean((2, 3, 4))
