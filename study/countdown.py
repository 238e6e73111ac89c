"""How many cells of a study are left, and how long they take at the speed so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable


class Countdown:
    """Counts cells down, whichever worker or other runner brings them to an end.

    Args:
        keys: Of the cells that are to run.
        report: Gets a line after each cell that ends here, until the last.
        clock: Seconds.

    Examples:
        >>> times = iter([0.0, 60.0, 120.0])
        >>> left = Countdown(["a", "b", "c", "d"], print, lambda: next(times))
        >>> left.ended("a")
        3 cells left, about 3.0 min
        >>> left.elsewhere("b")
        >>> left.ended("c")
        1 cell left, about 1.0 min
        >>> left.ended("d")
    """

    def __init__(
        self,
        keys: Iterable[str],
        report: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._left, self._report, self._clock = set(keys), report, clock
        self._began, self._ran = clock(), 0

    def ended(self, key: str) -> None:
        """Note a cell that was done or failed in this study's own workers."""
        self._left.discard(key)
        self._ran += 1
        if more := len(self._left):
            minutes = (self._clock() - self._began) / self._ran * more / 60
            self._report(f"{more} cell{'s' * (more > 1)} left, about {minutes:.1f} min")

    def elsewhere(self, key: str) -> None:
        """Note a cell that another runner ended, or that cannot run."""
        self._left.discard(key)
