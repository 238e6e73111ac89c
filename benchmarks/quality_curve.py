"""The rows of `time_to_quality.py`: Dice of each arm after so many minutes, and against whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from arm import values

from hilum.evaluation.statistics.comparison import paired_comparison
from hilum.evaluation.statistics.intervals import interval

ARMS = {
    "hilum": "hilum, from scratch",
    "hilum-raw": "hilum, most probable class",
    "nnunet": "nnU-Net, hilum's plan",
    "segresnet": "Auto3DSeg SegResNet",
    "nnunet-own": "nnU-Net, its own plan",
}
BASE = "nnunet"


def table(runs: Sequence[dict[str, Any]], labels: int) -> list[dict[str, Any]]:
    """Return a row for each arm and length, over its seeds: Dice, what it took, and against whom.

    The interval is for other patients (and other seeds, if there are some); the difference is that
    from nnU-Net with hilum's plan and the same minutes, patient by patient.
    """
    rows = []
    for arm, name in ARMS.items():
        for minutes in sorted({run["minutes"] for run in runs if run["arm"] == arm}):
            own, base = (
                [r for r in runs if r["arm"] == a and r["minutes"] == minutes] for a in (arm, BASE)
            )
            row: dict[str, Any] = {
                "what": f"{name}, {minutes:g} min, {labels} labelled",
                "arm": name,
                "minutes": minutes,
                "labels": labels,
                "seeds": [run["seed"] for run in own],
            }
            for key in ("steps", "processor_minutes", "wall_minutes"):
                row[key.replace("_", " ")] = [round(run[key], 2) for run in own]
            if "plan" in own[0]:
                row["plan"] = own[0]["plan"]
            rows.append(row | quality(own) | against(own, base if arm != BASE else []))
    return rows


def quality(own: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean Dice of an arm with its interval, and every patient's."""
    dice = values(own, "dice")
    seeds = [run["seed"] for run in own]
    cube = np.array([[found.get(seed, np.nan) for seed in seeds] for found in dice.values()])
    if not len(cube):
        return {"dice": None, "patients": 0}
    mean = float(np.nanmean(np.nanmean(cube, 1)))
    low, high = interval(mean, cube, (0.0, 1.0))
    return {
        "dice": _rounded(mean),
        "dice, 95 %": [_rounded(low), _rounded(high)],
        "patients": len(cube),
        "dice of patients": {p: [_rounded(v) for v in d.values()] for p, d in dice.items()},
    }


def against(own: Sequence[dict[str, Any]], base: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the paired difference in Dice from the arm that all are compared with."""
    if not base:
        return {}
    found = paired_comparison(values(own, "dice"), values(base, "dice"))
    ends = [_rounded(found.ci_low), _rounded(found.ci_high)]
    return {"difference": _rounded(found.difference), "difference, 95 %": ends}


def _rounded(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None
