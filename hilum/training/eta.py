"""Remaining time of a run: the newer half of its steps, and validations counted by themselves."""

from __future__ import annotations

from collections import deque

KEPT = 512
"""Durations of the newest steps that are remembered."""


class RemainingTime:
    """Estimates how long a run still takes. Final.

    The first steps of a session are slow (kernels are compiled, readers fill their queues), so a
    step is the mean of the newer half of those seen, at most 256. Validations are not part of it:
    each that is still to come takes the mean of those of this session, or none before the first.

    Args:
        steps: Steps of the whole run.
        validate_every: Steps between two validations; 0 without any.
    """

    def __init__(self, steps: int, validate_every: int = 0) -> None:
        self.steps, self.validate_every = steps, validate_every
        self._steps: deque[float] = deque(maxlen=KEPT)
        self._validations: deque[float] = deque(maxlen=KEPT)

    def step(self, seconds: float) -> None:
        """Count a step, without the validation that may have followed the one before."""
        self._steps.append(seconds)

    def validation(self, seconds: float) -> None:
        """Count a validation."""
        self._validations.append(seconds)

    @property
    def step_seconds(self) -> float | None:
        """Mean duration of the newer half of the steps; nothing before the first."""
        if not self._steps:
            return None
        newer = list(self._steps)[len(self._steps) // 2 :]
        return sum(newer) / len(newer)

    def after(self, step: int) -> float | None:
        """Return the seconds that are left after a step; nothing before the first."""
        one = self.step_seconds
        if one is None:
            return None
        left = (self.steps - step) * one
        if self._validations and self.validate_every:
            # The last step is validated whatever its number.
            coming = -(-self.steps // self.validate_every) - step // self.validate_every
            left += coming * sum(self._validations) / len(self._validations)
        return left
