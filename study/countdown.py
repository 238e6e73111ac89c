"""How many cells of a study are left, and how long they take at the speed so far."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from statistics import fmean


class Countdown:
    """Counts cells down, whichever worker or other runner brings them to an end.

    Pretraining takes another time than fine-tuning, so each stage has a mean of its own; a stage of
    which no cell has ended is named instead. Workers beside each other share the time.

    Args:
        stages: Stage of each cell that is to run, by its key.
        report: Gets a line after each cell that ends here, until the last.
        clock: Seconds.

    Examples:
        >>> times = iter([0.0, 60.0, 120.0, 180.0])
        >>> stages = {"p": "pretrain", "a": "finetune", "b": "finetune", "c": "finetune"}
        >>> left = Countdown(stages, print, lambda: next(times))
        >>> left.ended("p", 60)
        3 cells left, time unknown (finetune)
        >>> left.ended("a", 60)
        2 cells left, about 2.0 min
        >>> left.elsewhere("b")
        >>> left.ended("c", 60)
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

    def ended(self, key: str, seconds: float | None) -> None:
        """Note a cell that ended in this study's own workers.

        Args:
            key: Of the cell.
            seconds: How long it took; `None` if it failed, which says nothing of the others.
        """
        stage = self._left.pop(key, None)
        if stage is not None and seconds is not None:
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
        busy = sum(map(sum, self._took.values()))
        minutes = seconds * elapsed / busy / 60 if busy else 0
        if not unknown:
            return f"about {minutes:.1f} min"
        names = " and ".join(unknown)
        return f"about {minutes:.1f} min beside {names}" if minutes else f"time unknown ({names})"
