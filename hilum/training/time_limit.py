"""A budget in minutes: ends a run in time, and has its schedules follow the time that is used."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
from torch.optim.lr_scheduler import LambdaLR

from .checkpoints import Checkpoints, _validate
from .settings import TrainerSettings


class TimeBudget(pl.Callback):
    """Ends a run after `settings.minutes`, if its steps do not end it before. Final.

    The time is that of all sessions, from the first step of each on, validation included; what a
    killed session did after its last checkpoint does not count, and is done again. The run ends
    behind the first step that is beyond the budget, with a validation.

    Learning rates follow the fraction of the run that is used, of its steps or of its minutes,
    whichever is larger: they fall to zero at the end, wherever it comes. How far a run comes in a
    time differs from machine to machine, so such a run cannot be repeated to the bit.

    Args:
        settings: Steps and minutes.
        keeper: Knows what is validated.
        first: Step from which a run goes on that was made longer: its schedules follow the share
            of what is left since then.

    Attributes:
        share: Of the run that is used, 0 to 1.
        spent: Whether the time ended the run.
    """

    def __init__(self, settings: TrainerSettings, keeper: Checkpoints, first: int = 0) -> None:
        self.settings, self.keeper, self.first = settings, keeper, first
        self._from = 0.0
        self.share, self.spent = 0.0, False
        self._step, self._seconds, self._began = 0, 0.0, time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds of training in all sessions."""
        return self._seconds + time.monotonic() - self._began

    @property
    def place(self) -> float:
        """Step that fits the fraction of the run that is used."""
        return self.first + self.share * (self.settings.steps - self.first)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End a resumed run whose time is over, with the validation that may be missing."""
        self._step, self._began = trainer.global_step, time.monotonic()
        step = self._step
        if self.first and step == self.first:
            self._from = self._seconds
        self._look(trainer)
        if step and self.spent:
            if self.keeper.validated < step:
                _validate(trainer)
            trainer.should_stop = True

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the learning rates of a step."""
        if batch_idx % self.settings.accumulate:
            return
        self._look(trainer)
        place = self.place
        for config in trainer.lr_scheduler_configs:
            schedule = config.scheduler
            if not isinstance(schedule, LambdaLR):
                continue
            for group, base, rate in zip(
                schedule.optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True
            ):
                group["lr"] = base * rate(place)  # pyright: ignore[reportArgumentType]

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """End the run behind an optimiser step, if its time is over."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        self._look(trainer)
        if self.spent:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Return the time that is used."""
        return {"seconds": self.elapsed, "from": self._from}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved time."""
        self._seconds = float(state_dict["seconds"])
        self._from = float(state_dict.get("from", 0))

    def _look(self, trainer: pl.Trainer) -> None:
        """Look at the clock; all processes go by that of the first."""
        limit = 60 * (self.settings.minutes or float("inf"))
        elapsed = self.elapsed
        if trainer.world_size > 1:
            elapsed = float(trainer.strategy.broadcast(elapsed))
        step, left = trainer.global_step, self.settings.steps - self.first
        self.spent = elapsed >= limit and step < self.settings.steps
        used = (elapsed - self._from) / max(limit - self._from, 1e-9)
        self.share = min(max(used, (step - self.first) / max(left, 1)), 1.0)


def place(trainer: pl.Trainer, settings: TrainerSettings) -> int:
    """Return the step that a schedule is at: the step itself, or the one that fits the time."""
    for callback in trainer.callbacks:  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(callback, TimeBudget):
            return int(callback.place)
    return int(trainer.global_step)
