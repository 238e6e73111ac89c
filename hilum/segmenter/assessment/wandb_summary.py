"""What W&B shows of a test: scalars, the worst and the best case, a row per case."""

from __future__ import annotations

import math
from pathlib import Path

from hilum.evaluation.statistics.cohort import cohort_metrics
from hilum.training.tracking import Tracker

from .prepared_cases import Results, dice_of

SHOWN = ("dscagg", "f1agg", "lesion_sensitivity", "volume_error_ml")
"""Metrics of the summary beside Dice, which is also what the run returns."""


def show(results: Results, folder: Path, tracker: Tracker | None) -> dict[str, float]:
    """Return the scalars of the test, and log them with the worst and the best case.

    Args:
        results: Metrics by condition and case.
        folder: Holds a picture of each case.
        tracker: The open run, if there is one.
    """
    scores = {name: dice_of(results, name) for name in results}
    scalars = {f"test/dice_{name}": s for name, s in scores.items() if not math.isnan(s)}
    if tracker is not None:
        tracker.summarise(scalars | _others(results))
        _pictures(results, folder, tracker)
        _table(results, tracker)
    return scalars


def _others(results: Results) -> dict[str, float]:
    """Return what else the summary shows of each condition, where it is defined."""
    return {
        f"test/{metric}_{condition}": row["value"]
        for condition, cases in results.items()
        for metric, row in cohort_metrics(cases).items()
        if metric in SHOWN and not math.isnan(row["value"])
    }


def _pictures(results: Results, folder: Path, tracker: Tracker) -> None:
    import wandb

    first = results[next(iter(results))]
    known = [name for name in first if not math.isnan(first[name]["dice"])]
    ranked = sorted(known, key=lambda name: first[name]["dice"]) or [*first]
    files = [folder / f"{name}.png" for name in dict.fromkeys([*ranked[:1], *ranked[-1:]])]
    # One key each: W&B shows a list only if all pictures have one size.
    tracker.log_now({f"test/{file.stem}": wandb.Image(str(file)) for file in files})


def _table(results: Results, tracker: Tracker) -> None:
    cases = [(name, case, row) for name, rows in results.items() for case, row in rows.items()]
    columns = list(cases[0][2]) if cases else []
    rows = [[name, case, *(row.get(column) for column in columns)] for name, case, row in cases]
    tracker.log_rows("test/cases", ["condition", "case", *columns], rows)
