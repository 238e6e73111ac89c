"""The feature maps of whatever folder holds a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hilum.core.checkpoints import read_config
from hilum.core.geometry import IntTriple, Triple
from hilum.core.input_scale import zscored
from hilum.encoders.base import Encoder
from hilum.encoders.folders import read_encoder
from hilum.encoders.networks import kind_of, read_network
from hilum.segmenter.segmenter import Segmenter

Pyramid = list[Tensor]


class Features(nn.Module, ABC):
    """A network up to its features.

    Attributes:
        modalities: Name of each channel of the input.
        zscored: Modalities that it sees as the z-score of their volume.
        patch: Sides of its training patch in voxels.
        spacing: mm that it was trained at.
        dimensions: Numbers of one embedding.
    """

    modalities: tuple[str, ...]
    zscored: tuple[str, ...]
    patch: IntTriple
    spacing: Triple
    dimensions: int

    @abstractmethod
    def forward(self, image: Tensor, available: Tensor) -> list[Pyramid]:
        """Return pyramids of features, each finest first.

        Args:
            image: `[B, M, D, H, W]` on the scale of the network, zeros where a modality is absent.
            available: `[B, M]` booleans.
        """


class EncoderFeatures(Features):
    """The pyramid of an encoder alone. Final."""

    def __init__(self, encoder: Encoder, about: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.modalities, self.zscored = about.modalities, zscored(about.intensity)
        self.patch, self.spacing = about.patch, about.spacing
        self.dimensions = sum(encoder.channels)

    def forward(self, image: Tensor, available: Tensor) -> list[Pyramid]:
        """Return one pyramid."""
        return [self.encoder(image)]


class _Enough(Exception):  # noqa: N818 - ends a pass, and is no error
    """Every decoder has what it reads."""


class SegmenterFeatures(Features):
    """What the decoders of a segmenter read: its features after fusion. Final.

    Fusion is a part of what was learned, and only the strategy knows how its encoders are called;
    so the network runs as it is, until every decoder has been given what it reads. What comes after
    is not computed: decoders at full resolution are half of a network's time.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter, self.read, self.passes = segmenter, list[Pyramid](), 0
        config = segmenter.config
        self.modalities, self.zscored = config.modalities, config.zscored
        self.patch, self.spacing = config.patch, config.spacing
        for decoder in segmenter.decoders.values():
            decoder.register_forward_pre_hook(self._keep)
        with torch.no_grad():
            have = torch.ones(1, len(self.modalities), dtype=torch.bool)
            found = self(torch.zeros(1, len(self.modalities), *self.patch), have)
        self.dimensions = sum(level.shape[1] for pyramid in found for level in pyramid)
        # A strategy may call one decoder several times: a whole pass has told how often.
        self.passes = len(found)

    def forward(self, image: Tensor, available: Tensor) -> list[Pyramid]:
        """Return the pyramid that each decoder reads."""
        self.read.clear()
        with suppress(_Enough):
            self.segmenter(image, available)
        return list(self.read)

    def _keep(self, decoder: nn.Module, inputs: Sequence[Any]) -> None:
        self.read.append(list(inputs[0]))
        if len(self.read) == self.passes:
            raise _Enough


def read_features(folder: str | Path) -> Features:
    """Read an encoder, network or segmenter folder, or a run that holds one.

    Raises:
        CheckpointError: If the folder holds none of them.
    """
    place = Path(folder)
    if not (place / "config.json").is_file():
        inside = [place / name for name in ("segmenter", "network", "encoder")]
        place = next((one for one in inside if (one / "config.json").is_file()), place)
    kind = kind_of(place)
    if kind == "encoder":
        found: Features = EncoderFeatures(read_encoder(place), read_config(place))
    elif kind == "network":
        network = read_network(place)
        found = EncoderFeatures(network.encoder, network.config.encoder)
    else:
        found = SegmenterFeatures(Segmenter.from_pretrained(place))
    return found.eval()
