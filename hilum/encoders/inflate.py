"""Turn a 2D convolutional network into a 3D one that keeps what it has learned.

A 2D kernel is repeated along the depth and divided by the depth, or put into the middle slice of a
kernel of zeros. The first and last slice are continued beyond the ends, so a volume whose slices
are all alike gives the features of the 2D network in every slice, whatever the depth; zeros there
would darken a border as wide as the whole receptive field, and shift every mean over the volume.

Source:
    Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017, arXiv:1705.07750, section
    2.4. Strides along the depth follow those in the plane; continuing the ends is ours.
"""

from __future__ import annotations

import torch
from timm.layers.squeeze_excite import SEModule
from torch import Tensor, nn
from torch.nn import functional as F

from .inflate_blocks import block


def inflate(module: nn.Module, kernels: str = "mean") -> nn.Module:
    """Replace every 2D layer of a module by its 3D counterpart, in place, and return it.

    Code in a module's own `forward` that counts axes is not seen: test a family before listing it.

    Args:
        module: A 2D network; its own class must not be one of the layers.
        kernels: `mean` spreads a 2D kernel evenly over the depth; `centre` puts it into the
            middle slice of a kernel of zeros.

    Raises:
        ValueError: If `kernels` is neither.
        TypeError: If it holds a 2D layer that has no counterpart here.
    """
    if kernels not in ("mean", "centre"):
        raise ValueError(f"kernels must be mean or centre, got {kernels!r}")
    _inflate(module)
    if kernels == "centre":
        for part in module.modules():
            if isinstance(part, InflatedConv3d):
                _centre(part)
    return module


def _inflate(module: nn.Module) -> nn.Module:
    for name, child in list(module.named_children()):
        new = _counterpart(child)
        if new is None:
            _inflate(child)
        else:
            setattr(module, name, new)
    return module


def _centre(conv: InflatedConv3d) -> None:
    with torch.no_grad():
        plane = conv.weight.sum(2)
        conv.weight.zero_()
        conv.weight[:, :, conv.kernel_size[0] // 2] = plane


class InflatedConv3d(nn.Conv3d):
    """A convolution that pads height and width by zeros, and the depth by its end slices."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002 - torch's name
        depth, *plane = (int(side) for side in self.padding)
        if depth:
            # Not torch's replicate padding: its gradient is not deterministic on a GPU.
            first, last = input[:, :, :1], input[:, :, -1:]
            more = (-1, -1, depth, -1, -1)
            input = torch.cat([first.expand(more), input, last.expand(more)], 2)  # noqa: A001
        return F.conv3d(
            input, weight, bias, self.stride, (0, plane[0], plane[1]), self.dilation, self.groups
        )


class SqueezeExcite3d(nn.Module):
    """timm's squeeze-and-excitation with its mean over the volume.

    timm's own averages the third and fourth axis, which in 3D leaves the width.
    """

    def __init__(self, flat: SEModule) -> None:
        super().__init__()
        if flat.add_maxpool:
            raise TypeError("squeeze-and-excitation with a maximum cannot be inflated")
        self.fc1, self.fc2 = _conv(flat.fc1), _conv(flat.fc2)
        self.bn, self.act, self.gate = _plain(flat.bn), _one(flat.act), _one(flat.gate)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of `[B, C, D, H, W]` by what their means say."""
        means = x.mean((2, 3, 4), keepdim=True)
        return x * self.gate(self.fc2(self.act(self.bn(self.fc1(means)))))


def _counterpart(layer: nn.Module) -> nn.Module | None:
    whole = block(layer)
    if whole is not None:
        return _inflate(whole)
    if isinstance(layer, SEModule):
        return SqueezeExcite3d(layer)
    if isinstance(layer, nn.Conv2d):
        return _conv(layer)
    if isinstance(layer, nn.BatchNorm2d):
        return _norm(layer)
    if isinstance(layer, nn.MaxPool2d):
        return nn.MaxPool3d(
            layer.kernel_size, layer.stride, layer.padding, layer.dilation, False, layer.ceil_mode
        )
    if isinstance(layer, nn.AvgPool2d):
        return _mean(layer)
    if type(layer).__name__.endswith("2d") and not list(layer.children()):
        raise TypeError(f"no 3D counterpart for {type(layer).__name__}")
    return None


def _conv(layer: nn.Conv2d) -> nn.Conv3d:
    depth = layer.kernel_size[0]
    padding = layer.padding
    if isinstance(padding, str):
        raise TypeError("convolutions that pad by name cannot be inflated")
    if type(layer) is not nn.Conv2d or layer.padding_mode != "zeros":
        raise TypeError(f"{type(layer).__name__} with {layer.padding_mode} cannot be inflated")
    new = InflatedConv3d(
        layer.in_channels,
        layer.out_channels,
        (depth, layer.kernel_size[0], layer.kernel_size[1]),
        (layer.stride[0], layer.stride[0], layer.stride[1]),
        (padding[0], padding[0], padding[1]),
        (layer.dilation[0], layer.dilation[0], layer.dilation[1]),
        layer.groups,
        layer.bias is not None,
    )
    new.weight.data.copy_(layer.weight.data.unsqueeze(2).repeat(1, 1, depth, 1, 1) / depth)
    if layer.bias is not None and new.bias is not None:
        new.bias.data.copy_(layer.bias.data)
    return new


def _mean(layer: nn.AvgPool2d) -> nn.AvgPool3d:
    if layer.padding not in (0, (0, 0)):
        raise TypeError("a mean over padded zeros cannot be inflated")
    return nn.AvgPool3d(
        layer.kernel_size,  # pyright: ignore[reportArgumentType]
        layer.stride,  # pyright: ignore[reportArgumentType]
        0,
        layer.ceil_mode,
        layer.count_include_pad,
    )


def _norm(layer: nn.BatchNorm2d) -> nn.Module:
    new = nn.BatchNorm3d(
        layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats
    )
    new.load_state_dict(
        {key: layer.state_dict()[key] for key in new.state_dict() if key in layer.state_dict()}
    )
    # timm's BatchNormAct2d carries its activation along.
    tail = [getattr(layer, part) for part in ("drop", "act") if hasattr(layer, part)]
    return nn.Sequential(new, *tail) if tail else new


def _plain(layer: nn.Module) -> nn.Module:
    return layer if isinstance(layer, nn.Identity) else _norm(layer)  # pyright: ignore[reportArgumentType]


def _one(layer: nn.Module | None) -> nn.Module:
    return nn.Identity() if layer is None else layer
