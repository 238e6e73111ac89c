"""Models Genesis: distort an image in four ways, and restore it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hilum.core.errors import SettingsError
from hilum.core.modality import modality
from hilum.encoders.base import Encoder
from hilum.encoders.decoders.pyramid import PyramidDecoder
from hilum.encoders.networks import Output, reconstructions_of

from ..base import PretextBatch, PretextTask
from ..parts.distortions import bend, boxes, shuffle, unit_scale
from ..parts.masked_mse import countable, mean_squares, named, weighted_mean


class ModelsGenesis(PretextTask):
    r"""Restore tones, texture and context.

    $$L = \operatorname{mean}_m \operatorname{mean}_v (\hat x_{mv} - x_{mv})^2$$

    over the voxels of the body that a modality's scan covers.

    Each modality of each sample is brought to [0, 1] by its window and then, each with its
    probability: bent by a Bezier curve, locally shuffled, and painted over, inside of boxes or
    outside of them, with noise. The network gets the distorted image back on its own scale.

    Source:
        Zhou et al., "Models Genesis", Medical Image Analysis 2021, arXiv:2004.07882, section 3 and
        the released configuration (probabilities 0.9, 0.5, 0.9, of which 0.8 outside). Ours: the
        loss counts the body only, blocks to shuffle tile the volume, modalities are independent.

    Args:
        encoder: Encoder with one input channel per modality.
        modalities: Name of each channel.
        tones: Probability of a Bezier curve.
        texture: Probability of local shuffling.
        paint: Probability of painting.
        outside: Fraction of paintings that leave boxes and paint the rest.
        block: Largest side of a shuffled block, voxels.
    """

    citation = (
        "Zhou, Z. and others",
        "Models Genesis",
        "Medical Image Analysis",
        2021,
        "arXiv:2004.07882",
    )

    def __init__(
        self,
        *,
        encoder: Encoder,
        modalities: Sequence[str],
        tones: float = 0.9,
        texture: float = 0.5,
        paint: float = 0.9,
        outside: float = 0.8,
        block: int = 4,
    ) -> None:
        super().__init__()
        for name, p in (("tones", tones), ("texture", texture), ("paint", paint)):
            if not 0 <= p <= 1:
                raise SettingsError(f"{name} must be a probability", found=p)
        if not 0 <= outside <= 1 or block < 2:
            raise SettingsError(
                "outside must be within 0 and 1, block at least 2", found=f"{outside}, {block}"
            )
        if tones == texture == paint == 0:
            raise SettingsError("something must be distorted", remedy="set tones, texture or paint")
        self.modalities = tuple(modalities)
        self.tones, self.texture, self.paint = tones, texture, paint
        self.outside, self.block = outside, block
        rules = [modality(name) for name in self.modalities]
        self.ends = [
            tuple(float(v) for v in rule.encode(np.array([rule.low, rule.high]))) for rule in rules
        ]
        self.encoder = encoder
        self.decoder = PyramidDecoder(
            encoder.channels, encoder.strides, len(self.modalities), False, None
        )

    def loss(self, batch: PretextBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and the mean squared error of each modality on [0, 1]."""
        restored = self.decoder(self.encoder(self.distort(batch)))[0]
        target = self._unit(batch.image)
        each, count = mean_squares(restored, target, countable(batch))
        return weighted_mean(each, count, torch.ones_like(each)), named(
            "mse", self.modalities, each, count
        )

    def outputs(self) -> tuple[Output, ...]:
        """Return that each channel reconstructs its modality."""
        return reconstructions_of(self.modalities)

    def pictures(self, batch: PretextBatch) -> dict[str, Tensor]:
        """Return the input, its distortion, and what is restored, on the network's scale."""
        distorted = self.distort(batch)
        restored = self.decoder(self.encoder(distorted))[0].float().clamp(0, 1)
        parts = [low + (high - low) * restored[:, c] for c, (low, high) in enumerate(self.ends)]
        return {"input": batch.image, "distorted": distorted, "restored": torch.stack(parts, 1)}

    def distort(self, batch: PretextBatch) -> Tensor:
        """Return the image after its distortions; an absent modality stays zeros."""
        result = torch.empty_like(batch.image)
        unit, shapes = self._unit(batch.image), batch.shapes
        for row in range(len(result)):
            for channel, (low, high) in enumerate(self.ends):
                # Drawn in any case, so that one modality's absence leaves the other as it is.
                changed = self._one(unit[row, channel], batch.generator, shapes)
                result[row, channel] = low + (high - low) * changed
        return torch.where(batch.available[:, :, None, None, None], result, 0.0)

    def _one(self, x: Tensor, generator: torch.Generator, shapes: np.random.Generator) -> Tensor:
        chances = shapes.random(4).tolist()
        if chances[1] < self.texture:
            p, q, r = shapes.integers(2, self.block + 1, 3).tolist()
            x = shuffle(x, (p, q, r), 0.5, generator, shapes)
        if chances[0] < self.tones:
            x = bend(x, generator)
        if chances[2] < self.paint:
            outside = chances[3] < self.outside
            low, high = (3 / 7, 4 / 7) if outside else (1 / 6, 1 / 3)
            d, h, w = x.shape
            inside = boxes((d, h, w), 5, low, high, generator)
            noise = torch.rand(x.shape, generator=generator, device=generator.device)
            x = torch.where(inside ^ outside, noise, x)
        return x

    def _unit(self, image: Tensor) -> Tensor:
        return torch.stack(
            [unit_scale(image[:, c], low, high) for c, (low, high) in enumerate(self.ends)], 1
        )
