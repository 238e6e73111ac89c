"""Any 2D network of timm or transformers on each slice, and convolutions that join the slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple

from .activation_checkpointing import recompute
from .adapters import add_adapters, freeze
from .backbone2d import FlatNetwork
from .base import Encoder, preset
from .tokens import fine_level

SIZES: dict[str, tuple[int, tuple[int, int]]] = {
    "tiny": (8, (16, 32)),
    "small": (16, (32, 64)),
    "base": (32, (64, 128)),
}
"""Channels at full resolution, and of the levels finer than the tokens of a token network."""


class SlicesEncoder(Encoder):
    """A 2D network sees each slice, and a 3D pyramid is made of its maps.

    Convolutions along the depth join the slices. They are added to the maps and start at zero: a
    new encoder gives what the 2D network gives for each slice. Token networks (DINOv2, DINOv3,
    ViT) give levels at strides 4, 8 and 16 from three depths, others theirs at 4 to 32.

    Low-rank adapters start at zero, too. With `frozen`, adapters and what is not of the 2D network
    are all that learns, and its batch norms keep their statistics.

    Source:
        Networks: Oquab et al., "DINOv2", arXiv:2304.07193; Siméoni et al., "DINOv3",
        arXiv:2508.10104; Liu et al., "ConvNeXt", arXiv:2201.03545; Liu et al., "Swin",
        arXiv:2103.14030; Ryali et al., "Hiera", arXiv:2306.00989. Joining slices is ours.

    Args:
        in_channels: Channels of the image; a pretrained stem's sum over colours is shared out.
        size: `tiny`, `small` or `base`.
        model: `dinov2`, `dinov3`, `dinov3_convnext`, `convnext`, `convnextv2`, `swin` or `hiera`
            of transformers, or `timm/` and a name in timm, whose size is in its name.
        side: Side in pixels of the images that positions are made for. Hiera's slices are resized
            to it; other networks take any.
        settings: Keys of the library's config, which replace the size's.
        features: Channels of the levels; a token network's default is the size's and its width,
            others keep their own.
        fine: Channels of a level at full resolution, a convolution of the image; 0 for none; the
            size's if not given.
        pool_depth: Whether means over slices bring the depth to the plane's stride. Without, every
            level keeps every slice.
        frozen: Whether the 2D network does not learn.
        adapter_rank: Rank of the adapters of its attention, or, where it has none, of all linear
            layers; 0 for none.
        weights: Local folder or `.safetensors` file of the 2D network, or none.
        checkpoint_activations: Whether to compute blocks again in the backward pass, for memory.
    """

    citation = ("Oquab, M. and others", "DINOv2", "TMLR", 2024, "arXiv:2304.07193")
    note = "any plane (Hiera: resized to `side`); other networks by `model`"
    sizes: ClassVar = {
        "tiny": (516_504, (1, 4, 8, 16)),
        "small": (21_593_328, (1, 4, 8, 16)),
        "base": (85_727_712, (1, 4, 8, 16)),
    }
    small: ClassVar = {
        "model": "convnext",
        "settings": {"hidden_sizes": [4, 6, 8, 10], "depths": [1, 1, 1, 1]},
        "adapter_rank": 2,
    }
    not_compiled = "transformers collects its maps by hooks, which break the graph"

    TOKEN = 16

    def __init__(
        self,
        *,
        in_channels: int,
        size: str = "tiny",
        model: str = "dinov2",
        side: int = 224,
        settings: Mapping[str, object] | None = None,
        features: Sequence[int] | None = None,
        fine: int | None = None,
        pool_depth: bool = True,
        frozen: bool = False,
        adapter_rank: int = 0,
        weights: str | None = None,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        own_fine, own_features = preset(size, SIZES)
        fine = own_fine if fine is None else fine
        self.flat = _network(in_channels, model, size, side, dict(settings or {}), weights)
        if adapter_rank and not add_adapters(self.flat, adapter_rank):
            raise SettingsError("only a network with linear layers takes adapters", found=model)
        native = self.flat.channels
        if features is None:
            features = (*own_features, native[-1]) if self.flat.tokens else native
        if len(features) != len(native):
            raise SettingsError(
                f"features must be those of the {len(native)} levels", found=tuple(features)
            )
        self.levels = nn.ModuleList(
            nn.Identity() if wide == count else nn.Conv2d(wide, count, 1)
            for wide, count in zip(native, features, strict=True)
        )
        self.mixers = nn.ModuleList(_mixer(count) for count in features)
        self.fine = fine_level(in_channels, fine) if fine else None
        self.planes = (4, 8, 16) if self.flat.tokens else self.flat.strides
        self.in_channels, self.pool_depth, self.frozen = in_channels, pool_depth, frozen
        self.channels = (*([fine] if fine else []), *features)
        strides: list[IntTriple] = [(s if pool_depth else 1, s, s) for s in self.planes]
        self.strides = (*([(1, 1, 1)] if fine else []), *strides)
        stem = tuple(f"flat.net.{name}" for name in self.flat.stem)
        self.stem = (*stem, *(["fine.0.weight"] if fine else []))
        if frozen:
            freeze(self.flat)
        if checkpoint_activations:
            recompute(self.flat.blocks)
        self.train(self.training)

    def train(self, mode: bool = True) -> SlicesEncoder:
        """Set the mode; a frozen network stays in evaluation, its statistics as they are."""
        super().train(mode)
        if self.frozen:
            self.flat.eval()
        return self

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map an image to one feature map per level."""
        batch, _, depth, height, width = image.shape
        slices = self._resized(rearrange(image, "b c d h w -> (b d) c h w"))
        learns = any(parameter.requires_grad for parameter in self.flat.parameters())
        with torch.set_grad_enabled(torch.is_grad_enabled() and (learns or image.requires_grad)):
            flat = self.flat(slices)
        maps = [] if self.fine is None else [self.fine(image)]
        parts = zip(self.planes, flat, self.levels, self.mixers, strict=True)
        for stride, plane, level, mixer in parts:
            plane = _sized(level(plane), height // stride, width // stride)
            volume = rearrange(plane, "(b d) c h w -> b c d h w", b=batch, d=depth)
            if self.pool_depth:
                volume = F.avg_pool3d(volume, (stride, 1, 1))
            maps.append(volume + mixer(volume))
        return maps

    def _resized(self, slices: Tensor) -> Tensor:
        """Bring slices to the side that the network wants: its own, or a whole number of tokens."""
        if self.flat.side is not None:
            return _sized(slices, self.flat.side, self.flat.side)
        if self.flat.tokens:
            token, (height, width) = self.flat.strides[0], slices.shape[2:]
            return _sized(slices, height // self.TOKEN * token, width // self.TOKEN * token)
        return slices


def _sized(x: Tensor, height: int, width: int) -> Tensor:
    """Resize a plane, or leave it as it is if it has the size."""
    if x.shape[2:] == (height, width):
        return x
    return F.interpolate(x, (height, width), mode="bilinear")


def _mixer(channels: int) -> nn.Conv3d:
    """Return a convolution along the depth that starts at zero."""
    conv = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0), groups=channels)
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def _network(
    in_channels: int,
    model: str,
    size: str,
    side: int,
    settings: dict[str, object],
    weights: str | None,
) -> FlatNetwork:
    if model.startswith("timm/"):
        from .backbone2d_timm import TimmNetwork

        return TimmNetwork(in_channels, model.removeprefix("timm/"), side, settings, weights)
    from .backbone2d_transformers import TransformersNetwork

    return TransformersNetwork(in_channels, model, size, side, settings, weights)
