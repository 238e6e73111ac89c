"""What a run does that goes on under other settings: its optimiser stays, its rates begin again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import pytorch_lightning as pl
from torch.optim.lr_scheduler import LambdaLR

from hilum.core.continued import Leg, begin_leg, in_words, legs_of
from hilum.core.runs import RunFolder

from .checkpoints import Checkpoints
from .optimisation import rate_at
from .settings import TrainerSettings
from .step_of import step_of

Rate = Callable[[float], float]


@runtime_checkable
class HasPhases(Protocol):
    """A module some of whose phases are fractions of the steps of a run."""

    def began_with(self, steps: int) -> None:
        """Keep the phases of a run that began with so many steps, however long it is now."""
        ...


class Continuing(pl.Callback):
    """Carries a run on from where a leg of it begins. Final.

    Weights, moments of the optimiser and averages are those of the checkpoint. The learning rate
    begins again, since at the end of a schedule it is 0: it rises to the settings' rate during the
    first `warmup` of the steps that are left, and falls to 0 at the last by `schedule`. Whatever
    else follows the fraction of the run that is over follows the longer run.

    Args:
        run: Folder of the run.
        settings: Of the run as it is now.
        leg: What it goes on with; `None` in a run that does not.
        keeper: Counts the validations without a better value.
    """

    def __init__(
        self, run: RunFolder, settings: TrainerSettings, leg: Leg | None, keeper: Checkpoints
    ) -> None:
        self.first = None if leg is None else int(leg["step"] or 0)
        self.began_with = _first_steps(legs_of(run.path), settings)
        self.settings, self.keeper = settings, keeper
        self._rates: list[list[Any]] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember the rates of the settings; the checkpoint brings those that it began with."""
        self._rates = [list(schedule.base_lrs) for schedule in _schedules(trainer)]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the rates of the leg; processes that help go by what the first one knows."""
        if trainer.world_size > 1:
            self.first, self.began_with = trainer.strategy.broadcast((self.first, self.began_with))
        if self.first is None:
            return
        if isinstance(pl_module, HasPhases):
            pl_module.began_with(self.began_with)
        step = trainer.global_step
        for schedule, rates in zip(_schedules(trainer), self._rates, strict=True):
            schedule.base_lrs = rates
            schedule.lr_lambdas = [rate_of(self.first, self.settings)] * len(rates)
            factor = schedule.lr_lambdas[0](step)
            for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
                group["initial_lr"], group["lr"] = rate, rate * factor
        if step == self.first:
            self.keeper.stopped_early, self.keeper.waited = False, 0


def begin(run: RunFolder, settings: TrainerSettings) -> tuple[Leg | None, list[str]]:
    """Return the leg that a run is in, and in words what it goes on with, if it does so now.

    Raises:
        CheckpointError: If the checkpoint cannot be read.
    """
    legs = legs_of(run.path)
    if run.follower or not legs:
        return None, []
    step = step_of(run.checkpoint)
    now = settings.model_dump(mode="json")
    leg = begin_leg(run.path, step, {f"trainer.{key}": value for key, value in now.items()})
    if leg is None or leg["step"] != step:
        return leg, []
    what = in_words({key: (leg["was"][key], leg["now"][key]) for key in leg["now"]})
    return leg, [
        f"goes on from step {step}: {what}; weights and optimiser are those of that step, the "
        f"learning rate rises to {settings.learning_rate:g} again and falls to 0 at step "
        f"{settings.steps}"
    ]


def rate_of(first: int, settings: TrainerSettings) -> Rate:
    """Return the factor on the learning rate in a leg that begins at step `first`."""
    left = max(settings.steps - first, 1)
    return lambda step: rate_at(max(step - first, 0), left, settings.warmup, settings.schedule)


def _first_steps(legs: list[Leg], settings: TrainerSettings) -> int:
    """Return the steps that a run began with."""
    before = (leg["was"].get("trainer.steps") for leg in legs)
    return next((steps for steps in before if steps is not None), settings.steps)


def _schedules(trainer: pl.Trainer) -> list[LambdaLR]:
    found: list[Any] = [config.scheduler for config in trainer.lr_scheduler_configs]
    return [schedule for schedule in found if isinstance(schedule, LambdaLR)]
