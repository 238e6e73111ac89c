"""How many of the machine's cores a training step takes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from .settings import TrainerSettings


@contextmanager
def threads(settings: TrainerSettings) -> Iterator[None]:
    """Use the threads that are asked for inside the block, else leave a core to each reader."""
    before = torch.get_num_threads()
    free = max(1, min(before, _cores()) - settings.workers)
    given = before if "OMP_NUM_THREADS" in os.environ else free
    torch.set_num_threads(settings.threads or given)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _cores() -> int:
    """Return the cores that this process may use; a container's quota counts."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = Path("/sys/fs/cgroup/cpu.max")
    try:
        share, period = quota.read_text().split()
        return max(1, min(cores or 1, int(share) // int(period)))
    except (OSError, ValueError):
        return cores or 1
