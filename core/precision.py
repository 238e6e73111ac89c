"""Which number format training uses, and a guard for a processor bug in one of them."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn


def autocast_dtype(device: str) -> torch.dtype | None:
    """Return bfloat16 where the device computes with it, else `None` for float32.

    Args:
        device: `cpu` or `cuda`.
    """
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    try:
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    except AttributeError:
        # Older or other processors' builds lack the question; float32 is always right.
        return None
    return torch.bfloat16 if fast else None


def guard_bf16_conv3d(module: nn.Module) -> nn.Module:
    """Let convolutions over a depth of 2 run in float32 on a processor; return the same module.

    With bfloat16, a depth of 2 and a kernel above 1, oneDNN returns uninitialised memory as the
    gradient of the weight: infinite, or finite and wrong. Such maps are the deepest of a network
    and cost nothing to compute in float32. Calling it twice changes nothing.
    """
    for part in module.modules():
        guarded = isinstance(part.forward, partial) and part.forward.func is _forward
        if isinstance(part, nn.Conv3d) and max(part.kernel_size) > 1 and not guarded:
            part.forward = partial(_forward, part)  # pyright: ignore[reportAttributeAccessIssue]
    return module


def _forward(conv: nn.Conv3d, x: Tensor) -> Tensor:
    if x.device.type == "cpu" and x.shape[2] <= 2 and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            return conv._conv_forward(x.float(), conv.weight, conv.bias)
    return conv._conv_forward(x, conv.weight, conv.bias)
