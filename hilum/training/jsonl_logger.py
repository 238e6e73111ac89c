"""Rows of metrics, one per step, and `metrics.jsonl`, where every run writes them."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from hilum.core.files import write_text

from .metrics_file import read_metrics


class Rows:
    """Gathers everything that is logged at one step into one row.

    Lightning logs training and validation of a step apart, under the number of the step before;
    here the step is the number of optimiser steps that are done.

    Attributes:
        clock: Returns the step; set once the trainer exists.
    """

    def __init__(self, write: Callable[[int, dict[str, Any]], None]) -> None:
        self.clock: Callable[[], int] | None = None
        self._write, self._row, self._step = write, {}, -1

    def add(self, values: Mapping[str, Any], step: int | None) -> None:
        """Add values to the row of the step; a new step writes the row of the old one."""
        now = self.clock() if self.clock else int(step or 0)
        if now != self._step:
            self.flush()
            self._step = now
        # One epoch is the whole run, so its number says nothing.
        self._row |= {key: value for key, value in values.items() if key != "epoch"}

    def flush(self) -> None:
        """Write what was gathered."""
        row, self._row = self._row, {}
        if row:
            self._write(self._step, row)


class JsonLines(Logger):
    """Writes `metrics.jsonl`: one JSON object per logged step, NaN as `null`.

    Args:
        path: The file; rows after `step` are left from a session that was killed, and go, and so
            does a last line that was cut off.
        step: Step from which the run resumes.

    Raises:
        UserError: If another line is no row of numbers with its step.
    """

    def __init__(self, path: Path, step: int = 0) -> None:
        super().__init__()
        self.path, self.rows = path, Rows(self._append)
        if path.exists():
            kept = [row for row in read_metrics(path) if row["step"] <= step]
            write_text(path, "".join(f"{json.dumps(row)}\n" for row in kept))

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "metrics"

    @property
    def version(self) -> str:
        """There is one version."""
        return ""

    def log_hyperparams(self, params: argparse.Namespace | dict[str, Any], *args: Any) -> None:
        """The run folder holds the settings already."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Gather numbers."""
        self.rows.add(metrics, step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the last row."""
        self.rows.flush()

    def _append(self, step: int, row: Mapping[str, Any]) -> None:
        numbers = {key: float(value) for key, value in row.items()}
        plain = {key: value if math.isfinite(value) else None for key, value in numbers.items()}
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, **plain}) + "\n")
