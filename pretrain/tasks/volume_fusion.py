"""VolumeFusion: blend one patient into another by blocks, and segment how much of each there is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple
from hilum.encoders.base import Encoder
from hilum.encoders.decoders.pyramid import PyramidDecoder
from hilum.encoders.networks import Output

from ..base import PretextBatch, PretextTask
from ..parts.distortions import boxes


class VolumeFusion(PretextTask):
    r"""Predict the fusion coefficient of each voxel, a pseudo-segmentation without labels.

    $$x = \alpha \odot x_{fg} + (1 - \alpha) \odot x_{bg}, \qquad
      \alpha \in \{0, \tfrac1K, \dots, 1\}, \qquad L = \tfrac12 (L_{CE} + L_{Dice}),$$

    over the $K + 1$ classes of $\alpha$. The foreground is the next patient of the batch; $\alpha$
    is 0 but in random boxes, each of which has one value. Encoder and decoder learn to segment, so
    both may be handed on.

    Source:
        Wang et al., "MIS-FM", 2023, arXiv:2306.16925, section 3.2. Ours: a modality is blended
        where both patients have it; samples that share none do not count; the loss counts the
        body of either.

    Args:
        encoder: Encoder with one input channel per modality.
        modalities: Name of each channel.
        classes: Values of the coefficient above 0, the source's K.
        boxes: Boxes per patch.
    """

    citation = (
        "Wang, G. and others",
        "MIS-FM: 3D Medical Image Segmentation using Foundation Models Pretrained on a "
        "Large-Scale Unannotated Dataset",
        "",
        2023,
        "arXiv:2306.16925",
    )

    least_batch = 2

    def __init__(
        self, *, encoder: Encoder, modalities: Sequence[str], classes: int = 4, boxes: int = 12
    ) -> None:
        super().__init__()
        if classes < 1 or boxes < 1:
            raise SettingsError(
                "classes and boxes must be at least 1", found=f"{classes} and {boxes}"
            )
        self.modalities = tuple(modalities)
        self.classes, self.boxes = classes, boxes
        self.encoder = encoder
        self.decoder = PyramidDecoder(encoder.channels, encoder.strides, classes + 1, False, None)

    def loss(self, batch: PretextBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, its two terms, and the fraction of voxels that are right."""
        level, fused = self.fuse(batch)
        logits = self.decoder(self.encoder(fused))[0].float()
        counted = self._counted(batch)
        cross_entropy = F.cross_entropy(logits, level, reduction="none")
        count = counted.sum().clamp(min=1)
        cross_entropy = torch.where(counted, cross_entropy, 0.0).sum() / count
        dice = self._dice(logits.softmax(1), level, counted)
        right = ((logits.argmax(1) == level) & counted).sum() / count
        terms = {"cross_entropy": cross_entropy.detach(), "dice_loss": dice.detach()}
        return (cross_entropy + dice) / 2, terms | {"accuracy": right.detach()}

    def outputs(self) -> tuple[Output, ...]:
        """Return the fusion coefficient that each channel stands for."""
        values = range(self.classes + 1)
        return tuple(Output(kind="level", name=f"{v}/{self.classes}") for v in values)

    def pictures(self, batch: PretextBatch) -> dict[str, Tensor]:
        """Return the input, the blend, and the predicted coefficient."""
        level, fused = self.fuse(batch)
        found = self.decoder(self.encoder(fused))[0].argmax(1, keepdim=True) / self.classes
        shape = batch.image.shape
        return {
            "input": batch.image,
            "blend": fused,
            "coefficient": (level[:, None] / self.classes).expand(shape),
            "predicted": found.expand(shape),
        }

    def fuse(self, batch: PretextBatch) -> tuple[Tensor, Tensor]:
        """Return the class of each voxel, `[B, D, H, W]`, and the blended image."""
        level = torch.stack([self._level(batch) for _ in range(len(batch.image))])
        alpha = (level / self.classes)[:, None].to(batch.image.dtype)
        both = (batch.available & batch.available.roll(-1, 0))[:, :, None, None, None]
        blend = alpha * batch.image.roll(-1, 0) + (1 - alpha) * batch.image
        return level, torch.where(both, blend, batch.image)

    def _level(self, batch: PretextBatch) -> Tensor:
        """Draw one patient's classes; a later box lies over an earlier one."""
        generator, (d, h, w) = batch.generator, batch.image.shape[2:]
        sides: IntTriple = (d, h, w)
        level = torch.zeros(sides, dtype=torch.int64, device=batch.image.device)
        values = torch.randint(
            1, self.classes + 1, (self.boxes,), generator=generator, device=generator.device
        )
        for value in values:
            level = torch.where(boxes(sides, 1, 0.1, 0.4, generator), value, level)
        return level

    @staticmethod
    def _counted(batch: PretextBatch) -> Tensor:
        both = (batch.available & batch.available.roll(-1, 0)).any(1)
        body = batch.body[:, 0] | batch.body.roll(-1, 0)[:, 0]
        return body & both[:, None, None, None]

    @staticmethod
    def _dice(probability: Tensor, level: Tensor, counted: Tensor) -> Tensor:
        """Return one minus the mean Dice over the classes that there are."""
        classes = torch.arange(probability.shape[1], device=level.device).view(1, -1, 1, 1, 1)
        truth = (level[:, None] == classes) & counted[:, None]
        probability = probability * counted[:, None]
        axes = (0, 2, 3, 4)
        overlap, size = (probability * truth).sum(axes), truth.sum(axes)
        dice = 2 * overlap / (probability.sum(axes) + size).clamp(min=1e-6)
        there = size > 0
        return torch.where(there, 1 - dice, 0.0).sum() / there.sum().clamp(min=1)
