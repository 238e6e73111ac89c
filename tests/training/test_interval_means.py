"""Logged terms are means over the interval, whatever happens in between."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from hilum.core.errors import Stopped
from hilum.training.interval_means import IntervalMeans, log_terms


def test_values_that_are_nan_count_nowhere_and_a_state_goes_on() -> None:
    means = IntervalMeans()
    for value in (1.0, math.nan, 4.0):
        means.add({"train/a": torch.tensor(value), "train/b": torch.tensor(math.nan)})
    again = IntervalMeans()
    again.load_state_dict(json.loads(json.dumps(means.state_dict())))
    again.add({"train/a": torch.tensor(7.0)})
    found = again.take()
    assert found["train/a"] == 4.0
    assert math.isnan(found["train/b"])
    assert again.take() == {}


def test_a_log_line_is_the_mean_of_the_steps_since_the_last(
    toy: ModuleType, tmp_path: Path
) -> None:
    """Every third step is logged; the run is stopped in the middle of an interval."""
    terms: dict[int, list[float]] = {}

    class Terms(toy.ToyModule):
        def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
            loss = super().training_step(batch, batch_idx)
            log_terms(self, {"train/term": loss.detach()})
            terms[self.trainer.global_step + 1] = [float(loss.detach())]
            return loss

    settings = toy.trainer_settings(log_every=3)
    stop = toy.StopAt(4, signal.SIGTERM)
    with pytest.raises(Stopped):
        toy.train(tmp_path / "r", settings, stop, module=Terms(settings))
    toy.train(tmp_path / "r", settings, module=Terms(settings))
    lines = (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()
    rows = {row["step"]: row["train/term"] for row in map(json.loads, lines) if "train/term" in row}
    assert {3, 6, 9, 12} <= set(rows)
    for step in (6, 9, 12):
        expected = sum(terms[s][0] for s in range(step - 2, step + 1)) / 3
        assert rows[step] == pytest.approx(expected)
