"""What a source of weights must tell: how to know its files, and how they become our encoder."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from hilum.core.checkpoints import EncoderConfig
from hilum.core.errors import SettingsError
from hilum.core.input_scale import zscored
from hilum.core.registry import build
from hilum.encoders import ENCODERS
from hilum.encoders.networks import Output

from .channels import origins
from .reading import ForeignFile


@dataclass(frozen=True)
class Request:
    """What the user asks for.

    Attributes:
        modalities: Modality of each input channel of the encoder.
        architecture: Name and parameters of the encoder; replaces what the source finds.
        rename: Regular expression and replacement, for `plain`.
    """

    modalities: tuple[str, ...]
    architecture: dict[str, Any] = field(default_factory=dict)
    rename: dict[str, str] = field(default_factory=dict)


@dataclass
class Whole:
    """The decoder of a file, with what its outputs mean.

    Attributes:
        decoder: Name and parameters of our decoder.
        weights: Tensors by our names.
        outputs: One per output channel.
        names: The tensors by the file's names.
        adapted: Our name, and how the tensor was changed already.
    """

    decoder: dict[str, Any]
    weights: dict[str, Tensor]
    outputs: tuple[Output, ...]
    names: tuple[str, ...] = ()
    adapted: dict[str, str] = field(default_factory=dict)


@dataclass
class Recipe:
    """How a file becomes an encoder.

    Attributes:
        architecture: Name and parameters of our encoder.
        weights: Tensors by our names, the stem still with the channels of the file.
        unused: Names in the file that neither the encoder nor `whole` wants.
        adapted: Our name, and how the tensor was changed already.
        fresh: Beginnings of our names that the source's network has no counterpart of.
        grids: Of our position embeddings: sides of the token grid in the file.
        seen: Modality of each input channel of the file, where it says so.
        colours: Whether three input channels are red, green and blue.
        spacing: mm along depth, height, width, where the file or its home says so.
        patch: Sides in voxels of the patches it was trained on, where known.
        pretext: How it was trained, in a few words.
        whole: The decoder, where the file holds one that we have.
        zscored: Whether each channel of the file was scaled by its own mean and deviation; one
            value for all channels alike.
        own: What hilum wrote about the encoder, where the file is its own; see `follow`.
        notes: What the user should know.
    """

    architecture: dict[str, Any]
    weights: dict[str, Tensor]
    unused: list[str] = field(default_factory=list)
    adapted: dict[str, str] = field(default_factory=dict)
    fresh: tuple[str, ...] = ()
    grids: dict[str, tuple[int, ...]] = field(default_factory=dict)
    seen: tuple[str, ...] = ()
    colours: bool = False
    spacing: tuple[float, float, float] | None = None
    patch: tuple[int, int, int] | None = None
    pretext: str = "unknown"
    whole: Whole | None = None
    zscored: tuple[bool, ...] = (False,)
    own: EncoderConfig | None = None
    notes: list[str] = field(default_factory=list)

    def follow(self, own: EncoderConfig) -> None:
        """Take what hilum wrote about the encoder for more than what its source is known for."""
        self.own, self.seen = own, own.modalities
        self.spacing, self.patch = own.spacing, own.patch
        alone = zscored(own.intensity)
        self.zscored = tuple(name in alone for name in own.modalities)
        self.notes.append(
            "written by hilum: channels, scale, spacing, licence and, where known, the patients "
            "that it learned from are taken over"
        )

    def scaled_alone(self, modalities: Sequence[str]) -> list[str]:
        """Return those of the modalities whose channels were scaled by themselves; note doubt."""
        if len(set(self.zscored)) == 1:
            return list(modalities) if self.zscored[0] else []
        names = self.seen or tuple(modalities)
        if len(names) != len(self.zscored):
            self.notes.append(
                "the file scales its channels in several ways and does not name them: fixed "
                "windows are written, set scale when fine-tuning"
            )
            return []
        own = dict(zip(names, self.zscored, strict=True))
        # A kernel expects the scale that it was trained on, whichever modality it is given to.
        return [name for name, old in origins(names, modalities).items() if own[old]]


class WeightSource(ABC):
    """A tool or model zoo whose files become encoders; final subclasses, one a file.

    Attributes:
        title: The source, for a table.
        home: Where its weights are.
        licence: Of the published weights.
        obtain: How to get a file.
        renames: Whether `Request.rename` is of use; it is refused otherwise.
    """

    title: str
    home: str
    licence: str
    obtain: str
    renames: ClassVar[bool] = False

    def check(self, request: Request, name: str) -> None:
        """Raise a `SettingsError` if something is asked for that the source, `name`, leaves out."""
        if request.rename and not self.renames:
            raise SettingsError(
                "--rename is for plain: other sources know the names of their files",
                found=f"a file of {name}",
                remedy="leave out --rename, or name the source plain and the architecture",
            )

    @abstractmethod
    def recognise(self, foreign: ForeignFile) -> str:
        """Return why the file is of this source, or an empty text if it is not."""

    @abstractmethod
    def recipe(self, foreign: ForeignFile, request: Request) -> Recipe:
        """Return how the file becomes an encoder.

        Raises:
            CheckpointError: If it is of this source, but not of a network that we have.
        """

    def example(self, folder: Path) -> Path | None:
        """Write a small file of one channel as the source has them, for its contract, if it can."""
        return None


def written(
    file: Path, encoder: Mapping[str, Any], prefix: str = "", group: str = "", **around: Any
) -> Path:
    """Write an example: an encoder under the names of the network inside it; return the file.

    Args:
        file: To write.
        encoder: Name and parameters of our encoder, which keeps a foreign network in `inner`.
        prefix: Before every name.
        group: Key of the tensors; without one the file is a state dict.
        **around: What else the file holds in addition to the group.
    """
    own = build(ENCODERS, encoder, in_channels=1).state_dict().items()
    inner = {prefix + n.removeprefix("inner."): v for n, v in own if n.startswith("inner.")}
    torch.save({group: inner, **around} if group else inner, file)
    return file


def renamed(
    tensors: Mapping[str, Tensor], rules: Sequence[tuple[str, str]]
) -> tuple[dict[str, Tensor], list[str]]:
    r"""Return tensors under new names, and the names that no rule knows.

    Args:
        tensors: By name.
        rules: Regular expressions that must match the whole name, and replacements; the first that
            matches wins.

    Examples:
        >>> import torch
        >>> renamed({"encoder.a": torch.zeros(1), "head": torch.ones(1)}, [(r"encoder\.(.*)", r"inner.\1")])
        ({'inner.a': tensor([0.])}, ['head'])
    """  # noqa: E501 - an example is one line
    found, unused = {}, []
    for name, tensor in tensors.items():
        new = next((m.expand(to) for rule, to in rules if (m := re.fullmatch(rule, name))), None)
        if new is None:
            unused.append(name)
        else:
            found[new] = tensor
    return found, unused


def prefix_before(tensors: Mapping[str, Tensor], ending: str) -> str | None:
    """Return what stands before the shortest name that ends so, or nothing if none does."""
    names = [name for name in tensors if name == ending or name.endswith("." + ending)]
    return min(names, key=len).removesuffix(ending) if names else None
