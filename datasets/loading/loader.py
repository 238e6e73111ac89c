"""Batches from threads: no process to start, no copy between processes, one set of open files.

Reading a memory map, torch and the compiled kernels all give up Python's lock, so threads run side
by side. Measured by `make bench`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from ..batch import Batch, collate
from .patches import PatchDataset

AHEAD = 2
"""Batches that wait for the network beyond those being made."""


class PatchLoader:
    """Batches of a dataset in the order of `indices`, prepared by threads. Final.

    The batches are the same for any number of threads. An error in a thread is raised, as it is,
    when its batch is due.
    """

    def __init__(
        self,
        dataset: PatchDataset,
        batch_size: int,
        indices: Sequence[int],
        *,
        workers: int = 0,
        length: int | None = None,
        pin: bool = False,
        finish: Callable[[Batch], Batch] | None = None,
    ) -> None:
        """Say what to load.

        Args:
            dataset: Where items come from.
            batch_size: Items per batch; a rest is left out.
            indices: Which items.
            workers: Threads; 0 makes each batch when it is asked for.
            length: What `len` says, if not the number of batches: Lightning counts the batches of a
                resumed run from its start.
            pin: Whether batches go to a GPU.
            finish: Adds to each batch, in the thread that made it, what is better made on the host.
        """
        self.dataset, self.batch_size, self.indices = dataset, batch_size, indices
        self.workers, self.pin, self.finish = workers, pin, finish
        self.length = len(indices) // batch_size if length is None else length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Batch]:
        size = self.batch_size
        parts = [self.indices[i * size : (i + 1) * size] for i in range(len(self.indices) // size)]
        if self.workers == 0:
            yield from map(self._batch, parts)
            return
        pool = ThreadPoolExecutor(self.workers, "patches", _one_thread_each)
        waiting: deque[Future[Batch]] = deque()
        try:
            for part in parts:
                waiting.append(pool.submit(self._batch, part))
                if len(waiting) > self.workers + AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def state_dict(self) -> dict[str, int]:
        """Return nothing: `PatchData` knows the place; Lightning asks whether a loader resumes."""
        return {}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Do nothing: `PatchData` has made the loader for the right place."""

    def _batch(self, indices: Sequence[int]) -> Batch:
        batch = collate([self.dataset[index] for index in indices], torch.float16)
        if self.finish is not None:
            batch = self.finish(batch)
        if self.pin:
            for name, value in batch.items():
                if isinstance(value, Tensor):
                    batch[name] = value.pin_memory()
        return batch


def _one_thread_each() -> None:
    """Keep torch from using every core in every thread; other threads are not touched."""
    torch.get_num_threads()  # torch sets a new thread up when first asked, and would undo the limit
    ThreadpoolController().select(user_api="openmp").limit(limits=1)
