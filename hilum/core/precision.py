"""Which number format training uses, and a guard for a processor bug in one of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .compat import fast_bfloat16_on_cpu


def autocast_dtype(device: str) -> torch.dtype | None:
    """Return bfloat16 where the device computes with it, else `None` for float32.

    Args:
        device: `cpu` or `cuda`.
    """
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    return torch.bfloat16 if fast_bfloat16_on_cpu() else None


def guard_bf16_conv3d(module: nn.Module) -> nn.Module:
    """Let convolutions over few slices run in float32 on a processor; return the same module.

    With bfloat16, kernels that reach over both ends of the depth (a depth below kernel + stride -
    1) may get a wrong gradient of the weight from oneDNN 3.13: uninitialised memory, hence infinite
    or finite and wrong. Seen with torch 2.15, against float64: a kernel of 3 at a depth of 2, of 5
    at 2 to 4, of 7 with stride 2 at 3 to 5, transposed convolutions whose kernel overlaps itself;
    never in a forward pass. Such maps are the deepest of a network and cost nothing in float32.

    Float32 is wrong itself, or ends the process, for a kernel of 7 with stride 2 at a depth of 5 to
    7. Zeros added to the depth beforehand avoid both, so the guard adds them. It does nothing
    without autocast, nor for transposed kernels of 7 with stride 2, wrong in either format.

    Names and copies of the parameters are as before, and calling it twice changes nothing.
    """
    for part in module.modules():
        guarded = isinstance(part.forward, partial) and part.forward.func is _forward
        if not guarded and _concerned(part):
            part.forward = partial(_forward, part)  # pyright: ignore[reportAttributeAccessIssue]
    return module


def _concerned(part: nn.Module) -> TypeGuard[nn.Conv3d | nn.ConvTranspose3d]:
    """Tell whether the bug can meet a layer at some depth."""
    if isinstance(part, nn.ConvTranspose3d):
        return part.kernel_size[0] > part.stride[0]
    return isinstance(part, nn.Conv3d) and part.kernel_size[0] > 1


def _forward(conv: nn.Conv3d | nn.ConvTranspose3d, x: Tensor, *rest: Any, **named: Any) -> Tensor:
    plain: Callable[..., Tensor] = type(conv).forward
    few = x.shape[2] < conv.kernel_size[0] + conv.stride[0] - 1
    if few and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            if _pads_by_zeros(conv):
                return _padded(conv, x.float())
            return plain(conv, x.float(), *rest, **named)
    return plain(conv, x, *rest, **named)


def _pads_by_zeros(conv: nn.Module) -> TypeGuard[nn.Conv3d]:
    return (
        type(conv) is nn.Conv3d
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
    )


def _padded(conv: nn.Conv3d, x: Tensor) -> Tensor:
    """Convolve with the zeros of the depth written out, so that no kernel is cut at both ends."""
    depth, height, width = (int(side) for side in conv.padding)
    return F.conv3d(
        F.pad(x, (0, 0, 0, 0, depth, depth)),
        conv.weight,
        conv.bias,
        conv.stride,
        (0, height, width),
        conv.dilation,
        conv.groups,
    )
