"""MONAI's 3D ResNets of 10 to 200 layers, with MedicalNet's parameter names."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from monai.networks.nets.resnet import ResNetFeatures
from torch import Tensor, nn
from torch.nn import functional as F

from hilum.core.errors import SettingsError

from .activation_checkpointing import recompute
from .base import Encoder, preset
from .tokens import fine_level

SIZES = {"tiny": 10, "small": 18, "base": 50}
"""Layers of each size."""

LAYERS = (10, 18, 34, 50, 101, 152, 200)
"""Depths that MedicalNet publishes weights for."""


class Resnet3DEncoder(Encoder):
    """Residual convolutions with batch norm at strides 2 to 32, and a level at full resolution.

    Shortcuts of 18 and 34 layers have no parameters; ours pass gradients on, which MONAI's cut off.

    Source:
        Chen et al., "Med3D: transfer learning for 3D medical image analysis", 2019,
        arXiv:1904.00625 (MedicalNet), whose last two stages dilate instead of striding; MONAI's
        `ResNetFeatures`, which strides. Weights fit both. The level at full resolution is ours.

    Args:
        in_channels: Channels of the image.
        size: `tiny`, `small` or `base`: 10, 18 or 50 layers.
        layers: 10, 18, 34, 50, 101, 152 or 200; replaces the size's.
        fine: Channels of a level at full resolution, a convolution of the image; 0 for none.
        checkpoint_activations: Whether to compute stages again in the backward pass, for memory.
    """

    citation = (
        "Chen, S. and Ma, K. and Zheng, Y.",
        "Med3D: Transfer Learning for 3D Medical Image Analysis",
        "",
        2019,
        "arXiv:1904.00625",
    )
    sizes: ClassVar = {
        "tiny": (14_378_384, (1, 2, 4, 8, 16, 32)),
        "small": (33_009_040, (1, 2, 4, 8, 16, 32)),
        "base": (46_177_936, (1, 2, 4, 8, 16, 32)),
    }
    small: ClassVar = {"fine": 4}

    def __init__(
        self,
        *,
        in_channels: int,
        size: str = "tiny",
        layers: int | None = None,
        fine: int = 16,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        deep = layers or preset(size, SIZES)
        if deep not in LAYERS:
            raise SettingsError(
                "layers must be 10, 18, 34, 50, 101, 152 or 200",
                found=deep,
                remedy="choose one of these",
            )
        self.inner = ResNetFeatures(
            f"resnet{deep}", pretrained=False, spatial_dims=3, in_channels=in_channels
        )
        for block in self.inner.modules():
            shortcut = getattr(block, "downsample", None)
            if isinstance(shortcut, partial):
                planes, stride = shortcut.keywords["planes"], shortcut.keywords["stride"]
                own = partial(_shortcut, planes=planes, stride=stride)
                block.downsample = own  # pyright: ignore[reportArgumentType]
        wide = (256, 512, 1024, 2048) if deep >= 50 else (64, 128, 256, 512)
        self.fine = fine_level(in_channels, fine) if fine else None
        self.in_channels = in_channels
        self.channels = (*([fine] if fine else []), 64, *wide)
        self.strides = tuple((s, s, s) for s in (*([1] if fine else []), 2, 4, 8, 16, 32))
        self.stem = ("inner.conv1.weight", *(["fine.0.weight"] if fine else []))
        if checkpoint_activations:
            recompute(self._stages())

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map an image to one feature map per stage."""
        inner = self.inner
        maps = [inner.act(inner.bn1(inner.conv1(image)))]
        x = inner.maxpool(maps[0])
        for stage in self._stages():
            x = stage(x)
            maps.append(x)
        return maps if self.fine is None else [self.fine(image), *maps]

    def _stages(self) -> list[nn.Module]:
        return [self.inner.layer1, self.inner.layer2, self.inner.layer3, self.inner.layer4]


def _shortcut(x: Tensor, planes: int, stride: int) -> Tensor:
    """Return every `stride`-th voxel, with zeros for the channels that are not there yet."""
    x = x[:, :, ::stride, ::stride, ::stride]
    return F.pad(x, (0, 0, 0, 0, 0, 0, 0, planes - x.shape[1]))
