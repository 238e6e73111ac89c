"""The contract of a pretext task: a loss that needs no labels, around an encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..core.geometry import IntTriple
from ..core.types import Available, Volume


class PretextBatch(NamedTuple):
    """What a pretext task sees of a batch, after augmentation and on the network's scale.

    Attributes:
        image: `[B, M, D, H, W]`, one channel per modality; zeros where a modality is absent.
        available: Which modalities each case has.
        body: `[B, 1, D, H, W]` booleans: inside the patient.
        generator: Source of every random draw of this step, on the device of the image.
        field_of_view: `[B, M, D, H, W]` booleans: inside what each modality's scan covers; all of
            it if not given.
    """

    image: Volume
    available: Available
    body: Tensor
    generator: torch.Generator
    field_of_view: Tensor | None = None


class PretextTask(nn.Module, ABC):
    """Has an `encoder`, gives a loss. Subclasses are final."""

    encoder: nn.Module

    @abstractmethod
    def loss(self, batch: PretextBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar to minimise and its named terms, detached, for the log."""

    @abstractmethod
    def pictures(self, batch: PretextBatch) -> dict[str, Tensor]:
        """Return named volumes like `batch.image` to look at, such as input, masked, rebuilt.

        NaN marks what was hidden from the network.
        """

    def check_patch(self, patch: IntTriple) -> None:
        """Raise a `SettingsError` if the task cannot work on patches of these sides."""
