"""The contract of a fusion strategy: several modalities in, one prediction out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from hilum.core.compat import assert_later
from hilum.core.geometry import IntTriple
from hilum.core.types import Available

Volumes = dict[str, Tensor]
"""Image of each modality, `[B, 1, D, H, W]`, on the scale of `core.modality`."""


class Pyramid(Protocol):
    """What fusion must know of an encoder; `encoders.base.Encoder` keeps it."""

    channels: tuple[int, ...]
    strides: tuple[IntTriple, ...]

    def __call__(self, image: Tensor) -> list[Tensor]:
        """Map an image to feature maps, finest first."""
        ...


MakeDecoder = Callable[[Sequence[int], Sequence[IntTriple]], nn.Module]
"""From channels and strides of a pyramid to a module `list[Tensor] -> list[logits]`.

The first logits are at full resolution, the others, for deep supervision, ever coarser.
"""


class FusionStrategy(nn.Module, ABC):
    """Several modalities become one prediction. Subclasses are final.

    Whatever is stored in an absent modality never reaches the output, any non-empty subset of
    the modalities works, and the order of the modalities does not matter to the result's meaning.

    Args:
        modalities: Names, in the order of the columns of `available`.
        encoders: One per entry of `inputs(modalities)`, with as many input channels as the entry
            has modalities.
        make_decoder: Makes a decoder for a pyramid.

    Attributes:
        citation: Authors, title, venue, year, and `arXiv:...` or `doi:...`, as in `core.citation`;
            a literal, so that a listing need not import the class.
        small: Parameters of a small one, which the contract tests build.
        by_column: Patterns of parameters whose first axis has the order of the modalities.
        exclusive: Whether it computes with probabilities of classes of which each voxel has one,
            so that its outputs cannot be regions that overlap.
    """

    citation: ClassVar[tuple[str, str, str, int, str] | None] = None
    small: ClassVar[Mapping[str, Any]] = {}
    by_column: ClassVar[tuple[str, ...]] = ()
    exclusive: ClassVar[bool] = False

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        encoders: Mapping[str, nn.Module],
        make_decoder: MakeDecoder,
    ) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        self.encoders = nn.ModuleDict(encoders)
        self.make_decoder = make_decoder

    @classmethod
    def inputs(cls, modalities: Sequence[str], **params: object) -> dict[str, tuple[str, ...]]:
        """Return the encoders that the strategy wants: a name, and the modalities it will see.

        By default one of each modality, of the same name.

        Args:
            modalities: Every modality of the cohort.
            **params: The strategy's own parameters, as in its settings.
        """
        return {name: (name,) for name in modalities}

    @classmethod
    def sees(cls, modalities: Sequence[str], **params: object) -> tuple[str, ...]:
        """Return the modalities that reach the prediction, in the order of `modalities`.

        Those that some encoder is named to see; a strategy whose encoder sees more than its
        weights are named after says so here.
        """
        seen = {name for own in cls.inputs(modalities, **params).values() for name in own}
        return tuple(name for name in modalities if name in seen)

    @abstractmethod
    def forward(self, volumes: Volumes, available: Available) -> list[Tensor]:
        """Predict logits, finest (full resolution) first; only the first counts at inference."""

    def forget_prior(self) -> None:
        """Let decoders that say nothing (heads of zeros) mean the same for every class.

        Nothing to do for most; who has a prior apart from the decoders' forgets it.
        """

    def penalty(self) -> dict[str, Tensor]:
        """Return what the last forward pass adds to the loss, by name; nothing for most."""
        return {}

    def insight(self, volumes: Volumes, available: Available) -> dict[str, Tensor]:
        """Return maps that show how the strategy weighs the modalities; nothing for most.

        Returns:
            `[B, 1, d, h, w]` by name, at the resolution of any level, such as `gate_pet`.
        """
        return {}

    def column(self, modality: str, available: Tensor) -> Tensor:
        """Return the availability of one modality as `[B, 1, 1, 1, 1]` booleans."""
        return available[:, self.modalities.index(modality)].view(-1, 1, 1, 1, 1)


def blank(volume: Tensor, present: Tensor) -> Tensor:
    """Replace the volumes of cases that lack the modality by zeros, NaN included.

    Args:
        volume: `[B, C, D, H, W]`.
        present: `[B, 1, 1, 1, 1]` booleans.
    """
    return torch.where(present, volume, volume.new_zeros(()))


def check_available(available: Tensor) -> None:
    """Raise an error if some case of the batch has no modality at all.

    A GPU checks by itself, so that nothing waits for it: its error comes with a later operation,
    and does not tell the case.
    """
    if available.is_meta or torch.compiler.is_compiling():
        return  # there is nothing to look at yet
    wanted = "every case needs at least one modality"
    try:
        assert_later(available.any(1).all(), wanted)
    except RuntimeError:
        if available.device.type != "cpu":
            raise
        rows = torch.nonzero(~available.any(1)).flatten().tolist()
        raise ValueError(f"{wanted}, got none at batch position {rows}") from None
