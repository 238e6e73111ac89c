"""A run with a budget in minutes ends in time, with its schedule at the end."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import pytorch_lightning as pl

from hilum.core.errors import Stopped
from hilum.core.settings import validate
from hilum.training.optimisation import rate_at
from hilum.training.settings import TrainerSettings
from hilum.training.time_limit import place


class Slow(pl.Callback):
    """Makes each step last a little; keeps the time, the rates and the place of each step."""

    def __init__(self, seconds: float = 0.05) -> None:
        self.seconds = seconds
        self.rates: list[float] = []
        self.places: list[int] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        time.sleep(self.seconds)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self.places.append(place(trainer, pl_module.settings))

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.rates.append(optimizer.param_groups[-1]["lr"])


def budget(toy: ModuleType, **changes: Any) -> Any:
    return toy.trainer_settings(**({"steps": 5000, "minutes": 0.02, "warmup": 0.0} | changes))


def test_ends_in_time_behind_a_validation_with_the_rate_near_zero(
    toy: ModuleType, tmp_path: Path
) -> None:
    slow = Slow()
    module, summary = toy.train(tmp_path / "r", budget(toy, validate_every=10**6), slow)
    assert summary["ended_by"] == "minutes"
    assert not summary["stopped_early"]
    assert 1.2 <= summary["seconds"] < 20
    assert 2 < summary["steps"] < 30
    assert module.validated == [summary["steps"]]
    assert summary["best_step"] == summary["steps"]
    assert slow.rates == sorted(slow.rates, reverse=True)
    assert slow.rates[-1] < 0.1 * slow.rates[0]
    settings = module.settings
    for rate, where in zip(slow.rates, slow.places, strict=True):
        expected = rate_at(where, 5000, 0.0, settings.schedule) * settings.learning_rate
        assert rate == pytest.approx(expected, rel=0.02, abs=1e-3 * settings.learning_rate)


def test_steps_that_come_first_end_the_run_as_if_there_were_no_budget(
    toy: ModuleType, tmp_path: Path
) -> None:
    plain, summary = toy.train(tmp_path / "plain", toy.trainer_settings())
    module, other = toy.train(tmp_path / "timed", toy.trainer_settings(minutes=1000.0))
    assert summary["ended_by"] == other["ended_by"] == "steps"
    for one, two in zip(plain.parameters(), module.parameters(), strict=True):
        assert one.equal(two)


def test_the_time_of_earlier_sessions_counts(toy: ModuleType, tmp_path: Path) -> None:
    settings = budget(toy, minutes=0.03)
    with pytest.raises(Stopped):
        toy.train(tmp_path / "r", settings, Slow(0.2), toy.StopAt(5, signal.SIGTERM))
    began = time.monotonic()
    _, summary = toy.train(tmp_path / "r", settings, Slow(0.2))
    assert summary["seconds"] >= 1.8
    assert time.monotonic() - began < summary["seconds"] - 0.9
    assert 5 < summary["steps"] < 12


def test_a_stop_in_the_last_validation_is_made_up_for_without_another_step(
    toy: ModuleType, tmp_path: Path
) -> None:
    settings = budget(toy, validate_every=10**6, minutes=0.01)
    stop = StopInValidation()
    with pytest.raises(Stopped):
        toy.train(tmp_path / "r", settings, Slow(0.2), stop)
    module, summary = toy.train(tmp_path / "r", settings, Slow())
    assert summary["steps"] == stop.step
    assert module.validated == [stop.step]
    assert module.seen == []
    assert summary["ended_by"] == "minutes"


class StopInValidation(pl.Callback):
    """Asks the process to stop by a real signal in the first validation."""

    step = 0

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        self.step = trainer.global_step
        signal.raise_signal(signal.SIGTERM)


def test_a_length_says_what_may_end_it_before_its_steps() -> None:
    def length(**more: object) -> str:
        return validate(TrainerSettings, {"steps": 90, **more}).length()

    assert length() == "90 steps"
    assert length(minutes=5) == "at most 90 steps within 5 min"
    assert length(patience=3) == "at most 90 steps"
