"""Means of what a training step computes, over the steps between two log lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor


class IntervalMeans(pl.Callback):
    """Sums terms of the loss where they lie, and gives their means when a line is logged. Final.

    One batch of two patches says little of a term; the mean over the interval says what the log
    line stands for. Nothing is read on the host before that. Values that are NaN, such as a term of
    a class that no patch of the batch held, count nowhere; a resumed run goes on in the middle of
    an interval.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Add the values of one forward pass.

        Args:
            terms: Scalars by the name that they are logged under.
        """
        for name, term in terms.items():
            value = term.detach().double()
            known = ~value.isnan()
            pair = torch.stack([torch.where(known, value, 0.0), known.double()])
            old = self._sums.get(name)
            self._sums[name] = pair if old is None else old.to(pair.device) + pair

    def take(self) -> dict[str, float]:
        """Return the means since the last call; NaN for what had no value."""
        sums, self._sums = self._sums, {}
        pairs = {name: pair.tolist() for name, pair in sums.items()}
        return {name: total / n if n else float("nan") for name, (total, n) in pairs.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the sums of the interval that is open."""
        return {"sums": {name: pair.tolist() for name, pair in self._sums.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on in the middle of an interval."""
        pairs = state_dict["sums"].items()
        self._sums = {name: torch.tensor(pair, dtype=torch.float64) for name, pair in pairs}


def log_terms(module: pl.LightningModule, terms: Mapping[str, Tensor]) -> None:
    """Have the means of terms logged with the next line, in a run that `fit` trains.

    Callbacks find the values of the step itself in `trainer.callback_metrics`.
    """
    module.log_dict(dict(terms), logger=False, batch_size=1)
    try:
        trainer = module.trainer
    except RuntimeError:  # without a run there is no line
        return
    for callback in getattr(trainer, "callbacks", ()):
        if isinstance(callback, IntervalMeans):
            callback.add(terms)
