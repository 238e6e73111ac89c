"""How far a run is and when all of it will end: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from .eta import RemainingTime


class WholeRunProgress(pl.Callback):
    """Shows step, loss, best metric, speed, elapsed and remaining time of the whole run.

    The remaining time comes from the speed of this session, so it is right from a resumed run's
    first steps on; validations are timed by themselves.

    Args:
        name: What to call the run.
        steps: Steps of the whole run.
        loss: Returns the last loss.
        best: Returns the best metric as text, or nothing.
        elapsed: Returns the seconds of all sessions.
        validate_every: Steps between two validations; 0 without any.
        every_s: Minimum time between two lines, in seconds.
        write: Writes one line; the terminal's bar replaces it if there is a terminal.
    """

    def __init__(
        self,
        name: str,
        steps: int,
        *,
        loss: Callable[[], float],
        best: Callable[[], str],
        elapsed: Callable[[], float],
        validate_every: int = 0,
        every_s: float = 15.0,
        write: Callable[[str], None] | None = None,
    ) -> None:
        self.name, self.steps, self.every_s = name, steps, every_s
        self.loss, self.best, self.elapsed = loss, best, elapsed
        self.write = write
        self._bar: Progress | None = None
        self.remaining = RemainingTime(steps, validate_every)
        self._last = self._step_began = self._validation_began = 0.0
        self._step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start counting."""
        self._step_began = self._last = time.monotonic()
        self._step = trainer.global_step
        if not trainer.is_global_zero:
            self.write = _nothing
        elif self.write is None and sys.stderr.isatty():
            self._bar = _bar()
            self._bar.start()
            self._task = self._bar.add_task(self.name, total=self.steps, now="")
        elif self.write is None:
            self.write = _print

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Show the step if it is time."""
        step, now = trainer.global_step, time.monotonic()
        if step > self._step:
            self.remaining.step((now - self._step_began) / (step - self._step))
            self._step, self._step_began = step, now
        if self._bar is not None:
            text = f"{self._numbers()}, {self._left(step)}"
            self._bar.update(self._task, completed=step, now=text)
        elif self.write is not None and (now - self._last >= self.every_s or step == self.steps):
            self._last = now
            self.write(self.line(step))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Time the validation by itself."""
        self._validation_began = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take its time out of the step that comes next."""
        seconds = time.monotonic() - self._validation_began
        if not trainer.sanity_checking:
            self.remaining.validation(seconds)
        self._step_began += seconds

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the bar away."""
        self._close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Take the bar away."""
        self._close()

    def line(self, step: int) -> str:
        """Return the plain line of a step."""
        return (
            f"{self.name} {step}/{self.steps}, {self._numbers()}, "
            f"{clock(self.elapsed())} elapsed, {self._left(step)}"
        )

    def _numbers(self) -> str:
        best = self.best()
        return f"loss {self.loss():.4f}" + (f", {best}" if best else "")

    def _left(self, step: int) -> str:
        one, left = self.remaining.step_seconds, self.remaining.after(step)
        if one is None or left is None:
            return "ETA unknown"
        return f"{1 / max(one, 1e-9):.2f} it/s, ETA {clock(left)}"

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def clock(seconds: float) -> str:
    """Return a duration such as `1:02:03` or `2:03`.

    Examples:
        >>> clock(3723.4), clock(59)
        ('1:02:03', '0:59')
    """
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[now]}"),
        console=Console(stderr=True),
        transient=True,
    )


def _print(text: str) -> None:
    print(text, flush=True)


def _nothing(text: str) -> None:
    return None
