"""Say which setting to lower, and by how much, when prediction or training runs out of memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod

import torch

from hilum.core.errors import UserError
from hilum.core.geometry import IntTriple

_PHRASES = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")
_SIZE = re.compile(r"allocate ([\d.]+) ?(bytes|[KMGT]i?B)")


@contextmanager
def memory_advice(
    case: str | None, device: torch.device, window: IntTriple, batch: int, step: Sequence[int]
) -> Iterator[None]:
    """Turn an allocation that fails inside of the block into one line with the remedy.

    Args:
        case: Being predicted.
        device: Of the network.
        window: Sides of a window.
        batch: Windows per forward pass.
        step: What sides of a window must be divisible by.

    Raises:
        UserError: Instead of whatever the allocator raised.
    """
    place = "GPU" if device.type == "cuda" else "machine"
    windows = f"{batch} window{'s' * (batch > 1)} of {_by(window)}"
    rule = f"the {place} must have memory for {windows} at once"
    with _told(rule, lambda: advice(window, batch, step), case):
        yield


@contextmanager
def training_advice(
    patch: IntTriple, batch: int, accumulate: int, step: Sequence[int]
) -> Iterator[None]:
    """Turn an allocation that fails while training into one line with the remedy.

    Args:
        patch: Sides of a patch.
        batch: Patches per forward pass.
        accumulate: Forward passes per step.
        step: What sides of a patch must be divisible by.

    Raises:
        UserError: Instead of whatever the allocator raised.
    """
    patches = f"{batch} patch{'es' * (batch > 1)} of {_by(patch)}"
    rule = f"there must be memory for a training step of {patches}"
    again = "begin again in a new run folder"
    with _told(rule, lambda: f"{_lower(patch, batch, accumulate, step)}; {again}"):
        yield


@contextmanager
def _told(rule: str, remedy: Callable[[], str], case: str | None = None) -> Iterator[None]:
    """Turn an allocation that fails inside of the block into one line."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(rule, case=case, found=_wanted(error), remedy=remedy()) from None


def _lower(patch: IntTriple, batch: int, accumulate: int, step: Sequence[int]) -> str:
    if batch > 1:
        half = batch // 2
        return (
            f"set trainer.batch_size={half} (was {batch}), which needs "
            f"{100 * half / batch:.0f} % of it; trainer.accumulate={accumulate * batch // half} "
            "keeps the patches per step"
        )
    smaller, share = _smaller(patch, step)
    if share == 1:
        return (
            "set encoder.checkpoint_activations=true, or use a smaller encoder or a machine with "
            "more memory"
        )
    sides = ",".join(map(str, smaller))
    return f"set patch=[{sides}], which needs {100 * share:.0f} % of it"


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error is a failed allocation, in the words of Python, numpy or torch."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(p in str(error).lower() for p in _PHRASES)


def advice(window: IntTriple, batch: int, step: Sequence[int]) -> str:
    """Return what to lower to what, and what that saves.

    Examples:
        >>> advice((96, 96, 96), 4, (16, 16, 16))
        'lower --batch from 4 to 2, which halves what a pass needs'
        >>> advice((96, 128, 128), 1, (16, 32, 32))
        'lower --window from 96 128 128 to 64 96 96, which needs 38 % of it'
        >>> advice((16, 16, 16), 1, (16, 16, 16))
        'use a machine with more memory: window and batch are the smallest that the network takes'
    """
    if batch > 1:
        return f"lower --batch from {batch} to {batch // 2}, which halves what a pass needs"
    smaller, share = _smaller(window, step)
    if share == 1:
        return (
            "use a machine with more memory: window and batch are the smallest that the network "
            "takes"
        )
    before, after = (" ".join(map(str, sides)) for sides in (window, smaller))
    return f"lower --window from {before} to {after}, which needs {100 * share:.0f} % of it"


def _smaller(sides: IntTriple, step: Sequence[int]) -> tuple[tuple[int, ...], float]:
    """Return sides of about three quarters, and their share of the voxels."""
    smaller = tuple(
        max(side * 3 // 4 // s * s, min(side, 2 * s)) for side, s in zip(sides, step, strict=True)
    )
    return smaller, prod(smaller) / prod(sides)


def _wanted(error: BaseException) -> str:
    match = _SIZE.search(str(error))
    if not match:
        return "too little"
    size = f"{match[1]} {match[2]}"
    if match[2] == "bytes":
        size = f"{float(match[1]) / 2**30:.2f} GiB"
    return f"no room for another {size}"


def _by(window: IntTriple) -> str:
    return " x ".join(map(str, window))
