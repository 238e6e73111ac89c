"""Why no GPU computes, where one could be expected to, and what to know of several."""

from __future__ import annotations

import os
from pathlib import Path

import torch

DRIVER = Path("/proc/driver/nvidia/version")
"""Where NVIDIA's driver says its version, on Linux."""


def gpu_notes() -> list[str]:
    """Return lines on GPUs that are not used, or not alike; none where there is nothing to say.

    Whether a GPU computes is torch's to say, and a machine whose GPU it cannot use is otherwise
    slow without a word.
    """
    if torch.cuda.is_available():
        return _unlike()
    why = _hidden() or _without_cuda() or _old_driver() or _apple()
    return [f"no GPU computes: {why}"] if why else []


def smallest_gpu() -> float:
    """Return the bytes of the visible GPU with the smallest memory: a run may land on any."""
    count = torch.cuda.device_count()
    return min(torch.cuda.get_device_properties(n).total_memory for n in range(count))


def _hidden() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None or visible.strip() not in ("", "-1"):
        return ""
    return (
        f"CUDA_VISIBLE_DEVICES={visible!r} hides all of them; "
        "to use one: unset CUDA_VISIBLE_DEVICES"
    )


def _without_cuda() -> str:
    if torch.version.cuda is not None or not DRIVER.exists():
        return ""
    return (
        "there is NVIDIA's driver, and torch is a build without CUDA; "
        "install one for your driver: https://pytorch.org/get-started/locally"
    )


def _old_driver() -> str:
    if torch.version.cuda is None or not DRIVER.exists():
        return ""
    line = DRIVER.read_text("utf-8", errors="replace").splitlines()[:1]
    return (
        f"torch finds none for its CUDA {torch.version.cuda}, though NVIDIA's driver is there: it "
        "may be too old, or see no device; update it, or install torch for an older CUDA "
        f"({' '.join(line)})"
    )


def _apple() -> str:
    if not torch.backends.mps.is_available():
        return ""
    return "Apple's GPU (MPS) is not supported; the processor computes"


def _unlike() -> list[str]:
    """Return a line if several visible GPUs differ in kind or memory."""
    count = torch.cuda.device_count()
    found = [torch.cuda.get_device_properties(number) for number in range(count)]
    kinds = [f"{one.name}, {one.total_memory / 2**30:.0f} GiB" for one in found]
    if len(set(kinds)) < 2:
        return []
    return [
        f"the GPUs differ ({'; '.join(kinds)}): several processes wait for the slowest, and the "
        "smallest memory bounds the batch; CUDA_VISIBLE_DEVICES=0 takes the first alone"
    ]
