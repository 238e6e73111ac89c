"""How many cells of a study are left, and how long they take at the speed so far."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from statistics import fmean


class Countdown:
    """Counts cells down, whichever worker or other runner brings them to an end.

    Pretraining takes another time than fine-tuning, so each stage has a mean of its own; a stage of
    which no cell has ended is named instead. Workers next to each other share the time.

    Args:
        stages: Stage of each cell that is to run, by its key.
        report: Gets a line after each cell that ends here, until the last.
        clock: Seconds.

    Examples:
        >>> times = iter([0.0, 60.0, 120.0, 300.0, 360.0])
        >>> stages = {"p": "pretrain"} | dict.fromkeys("abcd", "finetune")
        >>> left = Countdown(stages, print, lambda: next(times))
        >>> left.ended("p", 60)
        4 cells left, time unknown (finetune)
        >>> left.ended("a", 60)
        3 cells left, about 3.0 min
        >>> left.ended("b", 180, done=False)
        2 cells left, about 2.0 min
        >>> left.elsewhere("c")
        >>> left.ended("d", 60)
    """

    def __init__(
        self,
        stages: Mapping[str, str],
        report: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._left, self._report, self._clock = dict(stages), report, clock
        self._began = clock()
        self._took: dict[str, list[float]] = defaultdict(list)
        self._busy = 0.0

    def ended(self, key: str, seconds: float, done: bool = True) -> None:
        """Note a cell that ended in this study's own workers.

        Args:
            key: Of the cell.
            seconds: How long a worker was busy with it.
            done: Whether it succeeded; how long a failure took says nothing of other cells.
        """
        stage = self._left.pop(key, None)
        self._busy += seconds
        if stage is not None and done:
            self._took[stage].append(seconds)
        elapsed = self._clock() - self._began
        if more := len(self._left):
            self._report(f"{more} cell{'s' * (more > 1)} left, {self._time(elapsed)}")

    def elsewhere(self, key: str) -> None:
        """Note a cell that another runner ended, or that cannot run."""
        self._left.pop(key, None)

    def _time(self, elapsed: float) -> str:
        counts = Counter(self._left.values())
        known = {stage: fmean(took) for stage, took in self._took.items()}
        unknown = sorted(set(counts) - set(known))
        seconds = sum(count * known.get(stage, 0) for stage, count in counts.items())
        minutes = seconds * elapsed / self._busy / 60 if self._busy else 0
        if not unknown:
            return f"about {minutes:.1f} min"
        names = " and ".join(unknown)
        if not minutes:
            return f"time unknown ({names})"
        return f"about {minutes:.1f} min and {names} (unknown)"
