"""Where the host may read values of a tensor without waiting for a device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

_ELSEWHERE: ContextVar[bool] = ContextVar("elsewhere", default=False)


def free_to_read(values: Tensor) -> bool:
    """Return whether reading these values waits for nothing.

    Subclasses may have none, as the fake tensors that torch traces with.
    """
    return values.device.type == "cpu" and type(values) is Tensor and not _ELSEWHERE.get()


@contextmanager
def as_on_a_device() -> Iterator[None]:
    """Do, inside the block, what would be done on a GPU: nothing is free to read."""
    token = _ELSEWHERE.set(True)
    try:
        yield
    finally:
        _ELSEWHERE.reset(token)
