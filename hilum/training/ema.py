"""Averaged weights: validated, kept as the best, and saved instead of the raw ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from hilum.core.compat import lerp_all

from .fsdp import like, whole


@torch.no_grad()
def move(average: Iterable[Tensor], new: Iterable[Tensor], keep: float) -> None:
    """Let each tensor of an average keep a fraction of itself and take the rest, in place.

    Args:
        average: Tensors of any shapes.
        new: The same, of what is averaged.
        keep: Fraction of the old average that stays, within 0 and 1.
    """
    old, own = [t.detach() for t in average], [t.detach() for t in new]
    lerp_all(old, own, 1 - keep)


@torch.no_grad()
def follow(network: nn.Module, student: nn.Module, keep: float) -> None:
    """Move the parameters of a network towards those of another, and copy its buffers."""
    move(network.parameters(), student.parameters(), keep)
    for mine, theirs in zip(network.buffers(), student.buffers(), strict=True):
        mine.copy_(theirs)


def rising(decay: float, step: int) -> float:
    """Return the share that stays after a step: low at first, so that the random start is left.

    Source:
        TensorFlow's `ExponentialMovingAverage`.

    Examples:
        >>> [round(rising(0.9, step), 3) for step in (0, 1, 1000)]
        [0.1, 0.182, 0.9]
    """
    return min(decay, (1 + step) / (10 + step))


class AveragedWeights(pl.Callback):
    """An exponential moving average of the parameters.

    The share that the average keeps of itself is `rising`. While validation runs, the module holds
    the average; a checkpoint always holds both.

    Source:
        Polyak and Juditsky 1992.

    Args:
        decay: Fraction of the old average that stays, per step, in `[0, 1)`.
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
        move(self.average.values(), pl_module.parameters(), rising(self.decay, step))

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
