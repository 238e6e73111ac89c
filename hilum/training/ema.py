"""Averaged weights: validated, kept as the best, and saved instead of the raw ones."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from .fsdp import like, whole


class AveragedWeights(pl.Callback):
    """An exponential moving average of the parameters.

    After step `n` the average keeps a share of `min(decay, (1 + n) / (10 + n))` of itself, so that
    the first steps do not leave it at the random start. While validation runs, the module holds
    the average; a checkpoint always holds both.

    Source:
        Polyak and Juditsky 1992; the rising decay is TensorFlow's `ExponentialMovingAverage`.

    Args:
        decay: Share of the old average that stays, per step, in `[0, 1)`.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: dict[str, Tensor] = {}
        self._raw: dict[str, Tensor] | None = None
        self._step = 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin at the parameters, or carry a loaded average to their device."""
        self._settle(trainer, pl_module)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do so again: a sharded run loads its state behind `on_fit_start`."""
        self._settle(trainer, pl_module)

    def _settle(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._step = trainer.global_step
        old = self.average
        self.average = {
            name: like(old[name], p) if name in old else p.detach().clone()
            for name, p in pl_module.named_parameters()
        }

    @torch.no_grad()
    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the average after an optimiser step."""
        if trainer.global_step == self._step:
            return
        self._step = step = trainer.global_step
        keep = min(self.decay, (1 + step) / (10 + step))
        own = [p.detach() for p in pl_module.parameters()]
        torch._foreach_lerp_(list(self.average.values()), own, 1 - keep)  # pyright: ignore[reportPrivateImportUsage]

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the average into the module."""
        self._raw = {name: p.detach().clone() for name, p in pl_module.named_parameters()}
        self.put(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the parameters back."""
        if self._raw is not None:
            _copy(self._raw, pl_module)
            self._raw = None

    def put(self, module: pl.LightningModule) -> None:
        """Copy the average into a module for good."""
        _copy(self.average, module)

    def state_dict(self) -> dict[str, Any]:
        """Return the average."""
        return {"average": {name: whole(value) for name, value in self.average.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a saved average."""
        self.average = dict(state_dict["average"])

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the parameters, not the average, as the state of a run stopped in validation."""
        if self._raw is None:
            return
        first = {id(p): name for name, p in pl_module.named_parameters()}
        # Some libraries register one parameter under two names; both stand in the state.
        for name, parameter in pl_module.named_parameters(remove_duplicate=False):
            checkpoint["state_dict"][name] = whole(self._raw[first[id(parameter)]])


@torch.no_grad()
def _copy(values: dict[str, Tensor], module: pl.LightningModule) -> None:
    for name, parameter in module.named_parameters():
        parameter.copy_(like(values[name], parameter))
