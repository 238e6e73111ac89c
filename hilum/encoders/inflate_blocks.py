"""3D forms of timm's blocks whose own code counts the axes of an image."""

from __future__ import annotations

from typing import Any

from timm.layers.grn import GlobalResponseNorm
from timm.layers.norm import LayerNorm2d
from timm.models.convnext import ConvNeXtBlock
from torch import Tensor, nn
from torch.nn import functional as F

from hilum.core.compat import efficient_squeeze_excite


class ConvnextBlock3d(nn.Module):
    """timm's ConvNeXt block with parts of the same names; its layers are still to be inflated."""

    def __init__(self, flat: ConvNeXtBlock) -> None:
        super().__init__()
        self.conv_dw, self.norm, self.mlp = flat.conv_dw, flat.norm, flat.mlp
        self.shortcut, self.drop_path = flat.shortcut, flat.drop_path
        self.gamma, self.first = flat.gamma, flat.use_conv_mlp

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to `[B, C, D, H, W]`."""
        y = self.conv_dw(x)
        if self.first:
            y = self.mlp(self.norm(y))
        else:
            y = self.mlp(self.norm(y.movedim(1, -1))).movedim(-1, 1)
        if self.gamma is not None:
            y = y * self.gamma.view(-1, 1, 1, 1)
        return self.drop_path(y) + self.shortcut(x)


class LayerNorm3d(nn.LayerNorm):
    """A layer norm over the channels of `[B, C, D, H, W]`."""

    def __init__(self, flat: nn.LayerNorm) -> None:
        super().__init__(list(flat.normalized_shape), flat.eps, device="meta")
        self.weight, self.bias = flat.weight, flat.bias

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Normalise every voxel."""
        y = input.movedim(1, -1)
        y = F.layer_norm(y, self.normalized_shape, self.weight, self.bias, self.eps)
        return y.movedim(-1, 1)


class GlobalResponseNorm3d(nn.Module):
    """timm's global response norm with norms over the volume."""

    def __init__(self, flat: GlobalResponseNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = flat.weight, flat.bias, flat.eps
        self.last = flat.channel_dim == -1

    def forward(self, x: Tensor) -> Tensor:
        """Scale channels by the fraction of their norm, and add the input."""
        axes, channel = ((1, 2, 3), -1) if self.last else ((2, 3, 4), 1)
        shape = (1, 1, 1, 1, -1) if self.last else (1, -1, 1, 1, 1)
        size = x.norm(p=2, dim=axes, keepdim=True)
        share = size / (size.mean(channel, keepdim=True) + self.eps)
        return x + self.bias.view(shape) + self.weight.view(shape) * (x * share)


class EfficientSqueezeExcite3d(nn.Module):
    """EfficientNet's squeeze-and-excitation with its mean over the volume, to be inflated."""

    def __init__(self, flat: Any) -> None:
        super().__init__()
        self.conv_reduce, self.act1 = flat.conv_reduce, flat.act1 or nn.Identity()
        self.conv_expand, self.gate = flat.conv_expand, flat.gate or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of `[B, C, D, H, W]` by what their means say."""
        means = x.mean((2, 3, 4), keepdim=True)
        return x * self.gate(self.conv_expand(self.act1(self.conv_reduce(means))))


def block(layer: nn.Module) -> nn.Module | None:
    """Return the 3D form of a block, or none if the layer is no such block."""
    if isinstance(layer, ConvNeXtBlock):
        return ConvnextBlock3d(layer)
    if isinstance(layer, LayerNorm2d):
        return LayerNorm3d(layer)
    if isinstance(layer, GlobalResponseNorm):
        return GlobalResponseNorm3d(layer)
    if isinstance(layer, efficient_squeeze_excite()):
        return EfficientSqueezeExcite3d(layer)
    return None
