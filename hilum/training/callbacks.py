"""What happens around every step: its random seed and its pace."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytorch_lightning as pl
import torch

from hilum.core.runs import RunFolder
from hilum.core.seeds import derive

from .guard import StepGuard
from .interval_means import IntervalMeans
from .settings import TrainerSettings

try:
    import resource
except ImportError:  # Windows has none
    resource = None


class Draws(pl.Callback):
    """Makes dropout and every other draw from torch's global generator a function of the step.

    Args:
        seed: Seed of the run.
        accumulate: Forward passes per step.
    """

    def __init__(self, seed: int, accumulate: int) -> None:
        self.seed, self.accumulate = seed, accumulate

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed the forward pass."""
        part = batch_idx % self.accumulate
        rank = [trainer.global_rank] if trainer.global_rank else []
        torch.manual_seed(derive(self.seed, "step", trainer.global_step, part, *rank))

    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Seed it the same at every validation."""
        torch.manual_seed(derive(self.seed, "validation", batch_idx))


class Pace(pl.Callback):
    """Logs loss and its terms, learning rates, gradient norm, throughput, waiting, memory.

    What a step computes is logged as its mean over the steps since the last line.

    Args:
        settings: How often, and the size of a batch.
        guard: Knows the loss and the gradient.
        run: Gets a heartbeat.
        terms: Knows the terms of the loss.
    """

    def __init__(
        self, settings: TrainerSettings, guard: StepGuard, run: RunFolder, terms: IntervalMeans
    ) -> None:
        self.settings, self.guard, self.run, self.terms = settings, guard, run, terms
        self._mark = self._ended = time.monotonic()
        self._waited = self._paused = 0.0
        self._steps = 0
        self._pause_began = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._mark = self._ended = time.monotonic()
        self._waited = self._paused = 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note how long the batch took to come; validation in between does not count."""
        self._waited += time.monotonic() - self._ended

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock."""
        self._pause_began = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start it again."""
        pause = time.monotonic() - self._pause_began
        self._paused += pause
        self._ended += pause

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Log if it is time."""
        self._ended = time.monotonic()
        if (batch_idx + 1) % self.settings.accumulate:
            return
        self._steps += 1
        step = trainer.global_step
        self.run.heartbeat(step, self.settings.steps, loss=self.guard.loss)
        if step % self.settings.log_every and step != 1:
            return
        row = self._row()
        for logger in trainer.loggers:
            logger.log_metrics(row, step)

    def _row(self) -> dict[str, float]:
        spent = max(self._ended - self._mark - self._paused, 1e-9)
        patches = self._steps * self.settings.batch_size * self.settings.accumulate
        patches *= self.settings.processes
        row = {
            **self.guard.means(),
            **self.terms.take(),
            "time/steps_per_second": self._steps / spent,
            "time/patches_per_second": patches / spent,
            "time/data_wait_share": self._waited / spent,
        }
        for name, rate in self.guard.rates.items():
            row[f"optimisation/learning_rate/{name}"] = rate
        row |= _memory()
        self._mark, self._waited, self._paused, self._steps = self._ended, 0.0, 0.0, 0
        return row


def _memory() -> dict[str, float]:
    """Return the peak memory of the process and of the device, as far as they can be known."""
    found: dict[str, float] = {}
    if resource is not None:
        unit = 1024**3 if sys.platform == "darwin" else 1024**2
        found["memory/host_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    if torch.cuda.is_available():
        found["memory/device_gb"] = torch.cuda.max_memory_allocated() / 1024**3
    return found
