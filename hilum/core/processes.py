"""The same work on many things, in several processes that end with the one that started them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from .errors import DataError

T = TypeVar("T")
R = TypeVar("R")

PAUSE_S = 1.0
"""How often a process looks whether the one that started it still lives."""


def spread(function: Callable[[T], R], jobs: Sequence[T], workers: int) -> Iterator[R]:
    """Yield what a function makes of each job, in the order of the jobs.

    The results are those of one process: which process did a job changes nothing. If one job
    fails, those that have not begun are left out.

    Args:
        function: Of a module, so that other processes can import it.
        jobs: What it is called with; small, since they are sent.
        workers: Processes; 1 works in this one.

    Raises:
        DataError: If a process was killed.
    """
    if workers <= 1 or len(jobs) <= 1:
        yield from map(function, jobs)
        return
    pool = ProcessPoolExecutor(
        min(workers, len(jobs)),
        mp_context=get_context("spawn"),
        initializer=_begin,
        initargs=(os.getpid(),),
    )
    try:
        for future in [pool.submit(function, job) for job in jobs]:
            yield future.result()
    except BrokenProcessPool:
        raise DataError(
            "every worker must live to the end",
            found="one was killed, most likely for want of memory",
            remedy="use fewer workers and run the same command again",
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(parent: int) -> None:
    """Leave Ctrl-C to the process that started this one, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: int) -> None:
    """End when the parent is gone: the pool's queue would keep this process waiting for ever."""
    while os.getppid() == parent:
        time.sleep(PAUSE_S)
    os._exit(1)
