"""Work that may be slow or fail, done in order by a thread that nobody waits for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

Job = Callable[[], object]

MOST = 2000
"""Jobs that may wait; a logger that is further behind is taken for dead."""


class Sender:
    """Does jobs one after another in a daemon thread, so that a training never waits for them.

    Args:
        name: Name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._jobs: queue.Queue[Job | None] = queue.Queue(MOST)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def here(self) -> bool:
        """Say whether this is the thread itself."""
        return threading.current_thread() is self._thread

    def put(self, job: Job) -> bool:
        """Add a job; say whether there was room for it. A job must not raise."""
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            return False
        return True

    def end(self, seconds: float) -> bool:
        """Wait so long for what is left, and say whether it is done."""
        try:
            self._jobs.put(None, timeout=seconds)
        except queue.Full:
            return False
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
