"""Spread work over processes that never outlive the one that started them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from .errors import DataError

T = TypeVar("T")
R = TypeVar("R")

PAUSE_S = 2.0
"""Seconds between two looks whether the parent lives, where the system does not tell."""

_PR_SET_PDEATHSIG = 1


def spread(
    function: Callable[[T], R], jobs: Sequence[T], workers: int, *, in_order: bool = False
) -> Iterator[R]:
    """Yield what a function makes of each job, as it comes; in processes if `workers` exceeds 1.

    The workers leave Ctrl-C to the process that started them: what has begun is ended, and what
    has not is left out, as it is when a job fails.

    Args:
        function: Goes to other processes: at the top of a file, or a `functools.partial` of one.
        jobs: What it gets.
        workers: Processes.
        in_order: Whether results come in the order of the jobs, as from one process.

    Raises:
        DataError: If a process was killed.
    """
    if workers <= 1 or len(jobs) <= 1:
        yield from map(function, jobs)
        return
    pool = ProcessPoolExecutor(
        min(workers, len(jobs)),
        mp_context=get_context("spawn"),
        initializer=follow,
        initargs=(os.getpid(),),
    )
    try:
        given = [pool.submit(function, job) for job in jobs]
        for future in given if in_order else as_completed(given):
            yield future.result()
    except BrokenProcessPool:
        raise DataError(
            "every worker must live to the end",
            found="one was killed, most likely for want of memory",
            remedy="use fewer workers and run the same command again",
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def follow(parent: int) -> None:
    """End this process when its parent does, even if that is killed and can say nothing.

    What it was writing stays as a part, which the next run of the command removes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch, args=(parent,), name="parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PAUSE_S)
    os._exit(1)
