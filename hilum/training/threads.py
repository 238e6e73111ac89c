"""How many of the machine's cores a training step takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from hilum.core.gpu import gpu_notes
from hilum.core.waiting import waiting_line

from .settings import TrainerSettings

MOST_READERS = 4
"""Where nothing is said: what keeps a GPU busy whose step takes 100 ms (docs/performance.md)."""


def readers(settings: TrainerSettings) -> int:
    """Return how many threads read patches ahead: what is asked for, else what suits the device.

    A GPU leaves the processor free to read, but for one core that drives it; each of several
    processes of a machine has its fraction of the cores.
    """
    if settings.workers is not None:
        return settings.workers
    if not torch.cuda.is_available():
        return 0
    return max(1, min(MOST_READERS, _cores() // settings.devices - 1))


def say_machine(say: Callable[[str], None]) -> None:
    """Say what GPU does not compute, and where none does how waiting threads were bound."""
    for line in gpu_notes():
        say(f"note: {line}")
    if waiting_line() and not torch.cuda.is_available():
        say(waiting_line())


@contextmanager
def threads(settings: TrainerSettings) -> Iterator[None]:
    """Use the threads that are asked for inside the block, else leave a core to each reader."""
    before = torch.get_num_threads()
    free = max(1, min(before, _cores()) - readers(settings))
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
