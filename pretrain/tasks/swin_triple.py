"""Swin UNETR's three tasks at once: fill holes, tell the rotation, know the same place again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple
from hilum.encoders.base import Encoder
from hilum.encoders.decoders.pyramid import PyramidDecoder
from hilum.encoders.networks import Output, reconstructions_of

from ..base import PretextBatch, PretextTask
from ..parts.contrast import Projection, nt_xent
from ..parts.distortions import boxes
from ..parts.masked_mse import AXES, countable, weighted_mean


class SwinTriple(PretextTask):
    r"""Inpainting, rotation and contrast with one encoder: $L = L_{in} + L_{rot} + L_{con}$.

    Two copies of each patch are turned about the long axis of the body by one of four quarter
    turns each, and boxes of them are painted over with noise. $L_{in}$ is the absolute error of
    what the decoder makes of the boxes, $L_{rot}$ the cross-entropy of the turn, $L_{con}$ the
    normalised-temperature cross-entropy between the two copies of each patch.

    Source:
        Tang et al., "Self-Supervised Pre-Training of Swin Transformers for 3D Medical Image
        Analysis", CVPR 2022, arXiv:2111.14791, section 3.2. Ours: quarter turns only where height
        and width are equal, half turns elsewhere; the error counts what is hidden in the body.

    Args:
        encoder: Encoder with one input channel per modality; made for Swin.
        modalities: Name of each channel.
        boxes: Boxes painted over per copy.
        temperature: Of the contrast.
        width: Channels of the contrast's projection.
        weights: Of `inpainting`, `rotation` and `contrast`; 1 if not named.
    """

    citation = (
        "Tang, Y. and others",
        "Self-Supervised Pre-Training of Swin Transformers for 3D Medical Image Analysis",
        "CVPR",
        2022,
        "arXiv:2111.14791",
    )

    least_batch = 2

    def __init__(
        self,
        *,
        encoder: Encoder,
        modalities: Sequence[str],
        boxes: int = 6,
        temperature: float = 0.5,
        width: int = 128,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        names = ("inpainting", "rotation", "contrast")
        given = dict(weights or {})
        if set(given) - set(names) or any(w < 0 for w in given.values()):
            raise SettingsError(
                f"weights must be for {', '.join(names)} and not negative",
                found=given,
                remedy="name each of them, with a number from 0 on",
            )
        if boxes < 1 or temperature <= 0:
            raise SettingsError(
                "boxes must be at least 1, the temperature above 0", found=f"{boxes}, {temperature}"
            )
        self.modalities, self.boxes, self.temperature = tuple(modalities), boxes, temperature
        self.weights = {name: float(given.get(name, 1.0)) for name in names}
        self.encoder = encoder
        count = len(self.modalities)
        self.decoder = PyramidDecoder(encoder.channels, encoder.strides, count, False, None)
        self.turn = nn.Linear(encoder.channels[-1], 4)
        self.projection = Projection(encoder.channels[-1], width)

    def loss(self, batch: PretextBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum, its three terms, and how many turns are told right."""
        losses: dict[str, list[Tensor]] = {"inpainting": [], "rotation": []}
        keys, right = [], []
        for _ in range(2):
            target, counted, turns = self.turned(batch)
            painted, hidden = self.paint(target, batch)
            maps = self.encoder(painted)
            losses["inpainting"].append(self._error(maps, target, hidden & counted))
            pooled = maps[-1].float().mean((2, 3, 4))
            logits = self.turn(pooled).float()
            losses["rotation"].append(F.cross_entropy(logits, turns))
            right.append((logits.argmax(1) == turns).float().mean())
            keys.append(self.projection(pooled))
        terms = {name: torch.stack(values).mean() for name, values in losses.items()}
        terms["contrast"] = nt_xent(keys[0], keys[1], self.temperature)
        total = torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()
        named = {name: value.detach() for name, value in terms.items()}
        return total, named | {"rotation_accuracy": torch.stack(right).mean()}

    def outputs(self) -> tuple[Output, ...]:
        """Return that each channel reconstructs its modality."""
        return reconstructions_of(self.modalities)

    def pictures(self, batch: PretextBatch) -> dict[str, Tensor]:
        """Return the input, a turned copy with holes, and what fills them."""
        target, _, _ = self.turned(batch)
        painted, hidden = self.paint(target, batch)
        rebuilt = self.decoder(self.encoder(painted))[0].float()
        return {
            "input": batch.image,
            "turned": target,
            "painted over": painted,
            "rebuilt": torch.where(hidden, rebuilt, target),
        }

    def turned(self, batch: PretextBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Return the samples turned about the depth axis, where they count, and quarter turns."""
        count, (_, h, w) = len(batch.image), batch.image.shape[2:]
        drawn = batch.shapes.integers(0, 4, count)
        rows = (drawn if h == w else drawn // 2 * 2).tolist()
        turns = torch.tensor(rows).to(batch.image.device, non_blocking=True)
        where = countable(batch)
        image = [x.rot90(k, (2, 3)) for x, k in zip(batch.image, rows, strict=True)]
        counted = [x.rot90(k, (2, 3)) for x, k in zip(where, rows, strict=True)]
        return torch.stack(image), torch.stack(counted), turns

    def paint(self, image: Tensor, batch: PretextBatch) -> tuple[Tensor, Tensor]:
        """Return the image with noise in boxes, and where: never in a modality that is absent."""
        d, h, w = image.shape[2:]
        sides: IntTriple = (d, h, w)
        holes = torch.stack(
            [boxes(sides, self.boxes, 0.15, 0.4, batch.generator) for _ in range(len(image))]
        )
        hidden = holes[:, None] & batch.available[:, :, None, None, None]
        noise = torch.randn(image.shape, generator=batch.generator, device=batch.generator.device)
        return torch.where(hidden, noise.to(image.dtype), image), hidden

    def _error(self, maps: list[Tensor], target: Tensor, counted: Tensor) -> Tensor:
        rebuilt = self.decoder(maps)[0].float()
        error = torch.where(counted, rebuilt - target.float(), 0.0).abs().sum(AXES)
        count = counted.sum(AXES)
        return weighted_mean(error / count.clamp(min=1), count, torch.ones_like(error))
