"""Turn a 2D convolutional network into a 3D one that keeps what it has learned.

A 2D kernel is repeated along the depth and divided by the depth, so that a volume whose slices are
all alike gives, away from its ends, the features of the 2D network.

Source:
    Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017, arXiv:1705.07750, section
    2.4. Strides along the depth follow those in the plane.
"""

from __future__ import annotations

from torch import nn


def inflate(module: nn.Module) -> nn.Module:
    """Replace every 2D layer of a module by its 3D counterpart, in place, and return it.

    Raises:
        TypeError: If it holds a 2D layer that has no counterpart here.
    """
    for name, child in list(module.named_children()):
        new = _counterpart(child)
        if new is None:
            inflate(child)
        else:
            setattr(module, name, new)
    return module


def _counterpart(layer: nn.Module) -> nn.Module | None:
    if isinstance(layer, nn.Conv2d):
        return _conv(layer)
    if isinstance(layer, nn.BatchNorm2d):
        return _norm(layer)
    if isinstance(layer, nn.MaxPool2d):
        return nn.MaxPool3d(layer.kernel_size, layer.stride, layer.padding)  # pyright: ignore[reportArgumentType]
    if isinstance(layer, nn.AvgPool2d):
        return nn.AvgPool3d(layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode)  # pyright: ignore[reportArgumentType]
    if type(layer).__name__.endswith("2d") and not list(layer.children()):
        raise TypeError(f"no 3D counterpart for {type(layer).__name__}")
    return None


def _conv(layer: nn.Conv2d) -> nn.Conv3d:
    depth = layer.kernel_size[0]
    padding = layer.padding
    if isinstance(padding, str):
        raise TypeError("convolutions that pad by name cannot be inflated")
    new = nn.Conv3d(
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


def _norm(layer: nn.BatchNorm2d) -> nn.Module:
    new = nn.BatchNorm3d(layer.num_features, layer.eps, layer.momentum, layer.affine)
    new.load_state_dict(
        {key: layer.state_dict()[key] for key in new.state_dict() if key in layer.state_dict()}
    )
    # timm's BatchNormAct2d carries its activation along.
    tail = [getattr(layer, part) for part in ("drop", "act") if hasattr(layer, part)]
    return nn.Sequential(new, *tail) if tail else new
