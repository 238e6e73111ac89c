"""Batches that lie on a GPU when they are asked for: the next is copied while it computes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..batch import Batch
from .loader import PatchLoader


class OnDevice:
    """A loader whose batches are on a device, one ahead of what is asked for. Final.

    The copy of the next batch runs on a stream of its own, from memory that the loader has pinned,
    while the network works on the present one; asking for it waits for nothing that is not this
    copy. Two batches are on the device at a time. On a processor batches are given as they are.

    Args:
        loader: Gives batches in host memory, in order.
        device: Where the network is.
    """

    def __init__(self, loader: PatchLoader, device: torch.device) -> None:
        self.loader, self.device = loader, device

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        batches = iter(self.loader)
        ahead = self._next(batches, stream)
        while ahead is not None:
            batch, ahead = ahead, None
            if stream is not None:
                _hand_over(batch, stream, torch.cuda.current_stream(self.device))
            ahead = self._next(batches, stream)
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return what the loader says: Lightning asks whether a loader resumes."""
        return self.loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Leave it to the loader."""
        self.loader.load_state_dict(state_dict)

    def _next(self, batches: Iterator[Batch], stream: torch.cuda.Stream | None) -> Batch | None:
        """Begin to copy the next batch; `None` at the end."""
        batch = next(batches, None)
        if batch is None:
            return None
        with torch.cuda.stream(stream):
            return to_device(batch, self.device)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Return the batch with its tensors on a device; copies from pinned memory do not wait."""
    moved = dict(batch)
    for name, value in moved.items():
        if isinstance(value, Tensor):
            moved[name] = value.to(device, non_blocking=True)
    return moved  # pyright: ignore[reportReturnType]


def _hand_over(batch: Batch, copied: torch.cuda.Stream, works: torch.cuda.Stream) -> None:
    """Let the stream that computes wait for the copy, and keep the memory until it is done."""
    works.wait_stream(copied)
    for value in batch.values():
        if isinstance(value, Tensor):
            value.record_stream(works)
