"""The contract of an encoder: from an image to a pyramid of features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

from hilum.core.callable_module import find
from hilum.core.errors import CheckpointError, SettingsError, did_you_mean
from hilum.core.geometry import IntTriple

P = TypeVar("P")


class Encoder(nn.Module, ABC):
    """An image goes in, feature maps come out, finest first.

    Subclasses are final. They set the four attributes in their constructor, take only keyword
    arguments that JSON can hold, and keep them all in the constructor, so that an encoder folder
    can build them again.

    Attributes:
        in_channels: Channels of the image, one per modality.
        channels: Channels of each feature map, finest first.
        strides: Voxels of the image per voxel of each map, along depth, height and width.
        stem: Names of the parameters whose second axis is `in_channels`; transfer slices them
            when an encoder meets other modalities than it was pretrained on.
        single: Whether the coarsest map may be one voxel, whose variance an instance norm lacks.
        citation: Authors, title, venue, year, and `arXiv:...` or `doi:...`, as in `core.citation`.
            This and what follows are literals, so that a listing need not import the class.
        note: What else the input must or may be.
        small: Parameters of a small one, which the contract tests build.
        not_compiled: Why `torch.compile` cannot take it whole; empty if it can.
        sizes: Parameters with two input channels, and strides, of each size; an int is a cube's.
    """

    single: ClassVar[bool] = True
    citation: ClassVar[tuple[str, str, str, int, str] | None] = None
    note: ClassVar[str] = ""
    not_compiled: ClassVar[str] = ""
    small: ClassVar[Mapping[str, Any]] = {}
    sizes: ClassVar[Mapping[str, tuple[int, tuple[int | IntTriple, ...]]]] = {}
    in_channels: int
    channels: tuple[int, ...]
    strides: tuple[IntTriple, ...]
    stem: tuple[str, ...]

    @abstractmethod
    def forward(self, image: Tensor) -> list[Tensor]:
        """Map `[B, in_channels, D, H, W]` to `[B, channels[i], D/strides[i][0], ...]` for each i.

        Sides must be divisible by the last stride; `check_sides` tells the user so.
        """

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Encoder:
        """Build the encoder of a folder and fill it, as `encoders.folders.read_encoder` does.

        Args:
            folder: Such as `run/encoder` of `hilum pretrain`.

        Raises:
            CheckpointError: If the folder holds no encoder, damaged weights, or another class.
        """
        # By its address: the table of encoders needs this file first.
        found = find("hilum.encoders.folders:read_encoder")(folder)
        if not isinstance(found, cls):
            raise CheckpointError(
                f"the folder must hold a {cls.__name__}",
                file=folder,
                found=type(found).__name__,
                remedy="read it with hilum.Encoder.from_pretrained",
            )
        return found

    def check_sides(self, sides: IntTriple) -> None:
        """Raise an error with the nearest sides that work if `sides` do not fit the strides."""
        last = self.strides[-1]
        if any(side % stride for side, stride in zip(sides, last, strict=True)):
            fit = tuple(
                -(-side // stride) * stride for side, stride in zip(sides, last, strict=True)
            )
            raise SettingsError(
                f"patch sides must be divisible by {last}", found=tuple(sides), remedy=f"use {fit}"
            )
        if not self.single and tuple(sides) == last:
            raise SettingsError(
                "a patch must make more than one voxel of the coarsest map",
                found=tuple(sides),
                remedy=f"use {(2 * last[0], *last[1:])} or more, or fewer stages",
            )


def preset(size: str, sizes: Mapping[str, P]) -> P:
    """Return the preset that `size` names.

    Raises:
        SettingsError: If there is none, with the nearest one.
    """
    if size not in sizes:
        raise SettingsError(
            f"unknown size {size!r}{did_you_mean(size, sizes)}",
            remedy=f"choose from {', '.join(sizes)}",
        )
    return sizes[size]
