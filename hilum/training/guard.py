"""Clips the gradient, and stops a run whose loss or gradient is not finite, without a wait."""

from __future__ import annotations

import json
import math
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from hilum.core.errors import DataError
from hilum.core.runs import RunFolder

from .checkpoints import write_weights
from .fsdp import whole


class _Number(NamedTuple):
    """A number on its way to the host, and what it is of."""

    what: str
    step: int
    batch_number: int
    batch: Any
    host: Tensor
    arrived: torch.cuda.Event | None

    def read(self) -> float:
        if self.arrived is not None:
            self.arrived.synchronize()
        return float(self.host)


class StepGuard(pl.Callback):
    """Clips the gradient, and stops the run before a value that is not finite reaches the disk.

    Loss and norm of a step are copied to the host while the device works on, and read when the
    next step has been handed to it, so no step waits. Until then the batch is kept: two at most.
    Before a validation, a save and a log line everything is read, so that no weights from behind
    such a value are validated or written.

    The batch is kept as `replay/step-<n>.safetensors`, its cases in the file's metadata.

    Args:
        run: Folder of the run.
        clip: Largest norm of the gradient; 0 does not clip.

    Attributes:
        loss: Loss of the last batch whose numbers were read.
        norm: Norm of the gradient before clipping, likewise.
        rates: Learning rate of each part in the last step.
    """

    def __init__(self, run: RunFolder, clip: float) -> None:
        self.run, self.clip = run, clip
        self.loss = self.norm = math.nan
        self.rates: dict[str, float] = {}
        self._batch: Any = None
        self._batches = 0
        self._sent: deque[_Number] = deque()
        self._since_log: dict[str, list[float]] = {"loss": [], "gradient": []}

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remember the batch."""
        self._batch = batch
        self._batches += 1

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        """Send the loss."""
        self._send("loss", loss.detach() * trainer.accumulate_grad_batches, trainer)

    def on_before_optimizer_step(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Clip the gradient and send its norm."""
        norm = torch.nn.utils.clip_grad_norm_(pl_module.parameters(), self.clip or math.inf)
        self._send("gradient", whole(norm), trainer)
        self.rates = {
            str(group.get("name", number)): group["lr"]
            for number, group in enumerate(optimizer.param_groups)
        }

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Read the numbers of the batch before this one."""
        while self._sent and self._sent[0].batch_number < self._batches:
            self._read()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read all: what is not finite must choose no weights."""
        self.settle()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read all: what is not finite must not be handed over."""
        self.settle()

    def settle(self) -> None:
        """Read every number that is on its way.

        Raises:
            DataError: If one is not finite; names step and cases, and keeps the batch.
        """
        while self._sent:
            self._read()

    def means(self) -> dict[str, float]:
        """Return the mean loss and gradient norm since the last call, or nan if there was none."""
        self.settle()
        losses, norms = self._since_log["loss"], self._since_log["gradient"]
        row = {"train/loss": _mean(losses), "optimisation/gradient_norm": _mean(norms)}
        losses.clear()
        norms.clear()
        return row

    def state_dict(self) -> dict[str, Any]:
        """Return what the next log line is the mean of, when all is known to be finite."""
        self.settle()
        return {name: list(values) for name, values in self._since_log.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self._since_log = {name: list(state_dict.get(name, [])) for name in self._since_log}

    def _send(self, what: str, value: Tensor, trainer: pl.Trainer) -> None:
        host = value.to("cpu", non_blocking=True)
        arrived = None
        if value.is_cuda:
            arrived = torch.cuda.Event()
            arrived.record()
        step = trainer.global_step + 1
        self._sent.append(_Number(what, step, self._batches, self._batch, host, arrived))

    def _read(self) -> None:
        number = self._sent.popleft()
        value = number.read()
        if number.what == "loss":
            self.loss = value
        else:
            self.norm = value
        self._since_log[number.what].append(value)
        if not math.isfinite(value):
            self._sent.clear()
            self._refuse(number, value)

    def _refuse(self, number: _Number, value: float) -> None:
        file = self.run.path / "replay" / f"step-{number.step:06d}.safetensors"
        cases = keep_batch(file, number.batch)
        raise DataError(
            f"the {number.what} of step {number.step} must be finite",
            case=", ".join(cases) or None,
            found=f"{value}; the batch is kept as {file}",
            remedy="look at these cases (`hilum check`), or lower trainer.learning_rate",
        )


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def keep_batch(file: Path, batch: Any) -> list[str]:
    """Write the tensors of a batch with the names of its cases, and return the names."""
    parts: dict[Any, Any] = {}
    if isinstance(batch, dict):
        parts = batch
    elif isinstance(batch, list | tuple):
        parts = dict(enumerate(batch))
    cases = [str(case) for case in parts.get("case", [])]
    tensors = {
        str(key): value.detach().cpu().contiguous().clone()
        for key, value in parts.items()
        if isinstance(value, Tensor)
    }
    write_weights(file, tensors, {"case": json.dumps(cases)})
    return cases
