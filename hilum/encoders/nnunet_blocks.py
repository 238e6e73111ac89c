"""What nnU-Net's plain and residual encoders are built with, by `dynamic_network_architectures`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from torch import nn

from hilum.core.geometry import IntTriple

Inner = TypeVar("Inner", bound=nn.Module)


def nnunet_encoder(
    cls: Callable[..., Inner],
    in_channels: int,
    channels: Sequence[int],
    strides: Sequence[IntTriple],
    counts: Sequence[int],
) -> Inner:
    """Return an encoder of the library with nnU-Net's kernels, norms and activations.

    Args:
        cls: Class of the library.
        in_channels: Channels of the image.
        channels: Of each stage.
        strides: Of each stage, against the one before.
        counts: Blocks or convolutions of each stage.
    """
    return cls(
        in_channels,
        len(channels),
        list(channels),
        nn.Conv3d,
        3,
        [list(stride) for stride in strides],
        list(counts),
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        return_skips=True,
    )
