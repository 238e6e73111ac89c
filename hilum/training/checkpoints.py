"""Save, resume, keep the best, stop early, stop on request: all at places where nothing is lost.

`last.ckpt` holds everything that an exact resume needs; `best.safetensors` the best weights. Both
are written next to their place and renamed, so a kill at any moment leaves the old file. The state
is saved between two steps, when the metrics of the first are logged and its validation is over, or
in front of a validation that the resumed run then makes up for.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from safetensors.torch import save_file
from torch import Tensor

from hilum.core.checkpoints import state_of
from hilum.core.compat import set_step
from hilum.core.errors import CheckpointError
from hilum.core.files import atomic_path, hash_of_file
from hilum.core.runs import RunFolder
from hilum.core.weights import read_weights

from .settings import TrainerSettings
from .signals import StopRequest

BEST = "checkpoints/best.safetensors"


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all.

    Lightning's own way goes through the system's temporary folder, from where a move to another
    file system is a copy, and holds the file in memory.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: object | None = None,
    ) -> None:
        """Write the file; see `core.files.atomic_path`."""
        with atomic_path(os.fspath(path)) as part, part.open("wb") as stream:
            try:
                torch.save(checkpoint, stream)
            except RuntimeError as error:
                # torch closes its archive in vain and so hides the full disk behind its own error.
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise


class Checkpoints(pl.Callback):
    """Saves and resumes one run.

    Args:
        run: Folder of the run.
        settings: When to save and validate, and the patience.
        monitor: Metric that chooses the best weights; `None` keeps no best.
        mode: Whether larger or smaller is better.
        stop: Stop request to obey.
        flush: Writes the logged metrics to disk; called before a save.

    Attributes:
        best: Best value so far.
        best_step: Its step.
        stopped_early: Whether the patience ran out.
        validation: Metrics of the last validation.
        validations: How many there were: the best is chosen from as many.
        seconds: Time spent in earlier sessions.
        cpu_seconds: Time that processors worked in them, over all threads of the process.
    """

    def __init__(
        self,
        run: RunFolder,
        settings: TrainerSettings,
        monitor: str | None,
        mode: Literal["max", "min"],
        stop: StopRequest,
        flush: Callable[[], None],
    ) -> None:
        self.run, self.settings, self.stop, self.flush = run, settings, stop, flush
        self.monitor, self.mode = monitor, mode
        self.best: float | None = None
        self.best_step = self.waited = self.validated = 0
        self.best_hash = ""
        self.stopped_early = False
        self.validation: dict[str, float] = {}
        self.validations = 0
        self.seconds, self._began = 0.0, time.monotonic()
        self.cpu_seconds, self._cpu_began = 0.0, time.process_time()
        self._saved = 0

    @property
    def elapsed(self) -> float:
        """Seconds of all sessions of this run."""
        return self.seconds + time.monotonic() - self._began

    @property
    def worked(self) -> float:
        """Seconds that processors worked, over all threads and sessions."""
        return self.cpu_seconds + time.process_time() - self._cpu_began

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make up for what the last session left open."""
        self.stop.listen()
        step = self._saved = trainer.global_step
        if self.stopped_early:
            trainer.should_stop = True
        elif step and self.validated < step and step % self.settings.validate_every == 0:
            _validate(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time, and stop if it was asked for."""
        if batch_idx % self.settings.accumulate:
            return
        if self._asked(trainer):
            self._save_and_stop(trainer)
        if trainer.global_step - self._saved >= self.settings.save_every:
            self.save(trainer)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Have the last step validated, whatever its number."""
        if trainer.global_step >= self.settings.steps:
            trainer.val_check_batch = trainer.fit_loop.total_batch_idx + 1

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop in front of a validation, if it was asked for."""
        self._stop_in_validation(trainer)

    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop inside a validation, if it was asked for."""
        self._stop_in_validation(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the weights if none so far are better; count validations without progress."""
        self.validated = trainer.global_step
        self.validation = _numbers(trainer)
        self.validations += 1
        if self.monitor is None:
            return
        if self.monitor not in trainer.callback_metrics:
            known = ", ".join(sorted(trainer.callback_metrics))
            raise KeyError(f"validation must log {self.monitor!r}, it logged {known}")
        value = float(trainer.callback_metrics[self.monitor])
        sign = 1 if self.mode == "max" else -1
        better = self.best is None or sign * value > sign * self.best
        # Equal values choose nothing, as a Dice of 0 all along: then longer training is taken.
        if (better or value == self.best) and not math.isnan(value):
            self.best, self.best_step = value, trainer.global_step
            if trainer.is_global_zero:
                write_weights(self.run.path / BEST, state_of(pl_module))
                self.best_hash = hash_of_file(self.run.path / BEST, 64)
            if better:
                self.waited = 0
                return
        self.waited += 1
        if self.settings.patience and self.waited >= self.settings.patience:
            self.stopped_early = trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the end, so that a run killed before `DONE` does not train again."""
        self.save(trainer)

    def save(self, trainer: pl.Trainer) -> None:
        """Write `last.ckpt`."""
        self.flush()
        trainer.save_checkpoint(self.run.path / "checkpoints" / "last.ckpt", weights_only=False)
        self._saved = trainer.global_step

    def state_dict(self) -> dict[str, Any]:
        """Return what decides on the best weights and the early stop."""
        return {
            "best": self.best,
            "best_step": self.best_step,
            "best_hash": self.best_hash,
            "waited": self.waited,
            "validated": self.validated,
            "validation": self.validation,
            "validations": self.validations,
            "stopped_early": self.stopped_early,
            "seconds": self.elapsed,
            "cpu_seconds": self.worked,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a saved state."""
        for name, value in state_dict.items():
            setattr(self, name, value)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Leave out Lightning's loop counters: the number of the step says it all."""
        checkpoint.pop("loops")

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Set Lightning's counters to the step; its data begin there, so its epoch does, too."""
        step = int(checkpoint["global_step"])
        set_step(trainer, step, self.settings.accumulate)

    def _stop_in_validation(self, trainer: pl.Trainer) -> None:
        # After the last step nothing could make up for the validation, so it runs to its end.
        if self._asked(trainer) and trainer.global_step < self.settings.steps:
            self._save_and_stop(trainer)

    def _asked(self, trainer: pl.Trainer) -> bool:
        """Say whether any process of the run was asked to stop: all must save together."""
        if trainer.world_size == 1:
            return bool(self.stop)
        asked = trainer.strategy.reduce_boolean_decision(bool(self.stop), all=False)
        if asked:
            self.stop.ask("a signal to another process")
        return asked

    def _save_and_stop(self, trainer: pl.Trainer) -> None:
        if trainer.global_step > self._saved:
            self.save(trainer)
        raise self.stop.stopped()


def write_weights(
    path: Path, weights: Mapping[str, Tensor], about: Mapping[str, str] | None = None
) -> None:
    """Write tensors as safetensors, whole or not at all."""
    with atomic_path(path) as part:
        save_file(dict(weights), part, metadata={"format": "pt", **(about or {})})


def best_weights(run: RunFolder, sha256: str = "") -> dict[str, Tensor]:
    """Read the best weights of a run, by the names of its Lightning module.

    Args:
        run: The run.
        sha256: Of the file that the run wrote; empty where only another process knows it.

    Raises:
        CheckpointError: If the file is missing, or another: the last weights are no substitute.
    """
    path = run.path / BEST
    try:
        return read_weights(path, {path.name: sha256} if sha256 else {})
    except CheckpointError as error:
        raise CheckpointError(
            "the best weights of a run must be as its validation left them",
            file=path,
            found=f"{error.rule}, found {error.found}" if error.found else "no file",
            remedy=f"remove {path.parent / 'last.ckpt'} to train again from the start",
        ) from None


def _numbers(trainer: pl.Trainer) -> dict[str, float]:
    """Return what the validation logged."""
    found = trainer.callback_metrics.items()
    return {key: float(value) for key, value in found if key.startswith("val/")}


def _validate(trainer: pl.Trainer) -> None:
    """Run a validation now, as Lightning does between two steps."""
    trainer.validating = True
    trainer.fit_loop.epoch_loop.val_loop.run()
    trainer.training = True
