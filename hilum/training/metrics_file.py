"""Rows of `metrics.jsonl`, checked while they are read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hilum.core.errors import UserError
from hilum.core.files import read_rows


def read_metrics(
    path: Path, wanted: Callable[[str], bool] = lambda line: True
) -> Iterator[dict[str, Any]]:
    """Yield the rows of `metrics.jsonl`: a step, and numbers or nothing.

    Args:
        path: The file.
        wanted: Lines to read; the others are not looked at.

    Raises:
        UserError: If a line is something else; a last one that was cut off is left out.
    """
    for row in read_rows(path, wanted):
        step = row.get("step")
        if type(step) is not int or step < 0:
            raise _wrong(path, "a row of metrics must have its step", row.get("step"))
        for key, value in row.items():
            if value is not None and (type(value) not in (int, float) or not math.isfinite(value)):
                raise _wrong(path, f"{key} of step {step} must be a number or null", value)
        yield row


def _wrong(path: Path, rule: str, found: object) -> UserError:
    remedy = "mend the line, or move the file away: only the record of the run is lost"
    return UserError(rule, file=path, found=repr(found)[:60], remedy=remedy)
