"""What predicts: one segmenter, or several as one."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn

from .config import SegmenterConfig


class Predictor(nn.Module, ABC):
    """What inference needs to know of a network, or of several whose probabilities are averaged.

    Attributes:
        config: What it was built from; of several, that of the first.
        modalities: Name of each channel of the input.
        classes: Channels of the output.
    """

    config: SegmenterConfig
    modalities: tuple[str, ...]
    classes: int

    @property
    @abstractmethod
    def networks(self) -> list[nn.Module]:
        """The networks to average, each `(image, available) -> logits, finest first`."""
