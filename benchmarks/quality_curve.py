"""The rows of `time_to_quality.py`: Dice of each arm after so many minutes, and against whom.

The Dice is that of patients with nodes. That of a patient without any is 1 for an empty mask and 0
for any other, so one of them would lift a network that marks nothing anywhere above others; how
many of them are marked stands in a column of its own.
"""

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
    dice = values(with_nodes(own), "dice")
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
        "without nodes": [_without(run) for run in own],
        "marked without nodes": [_without(run, marked=True) for run in own],
        "dice of patients": {p: [_rounded(v) for v in d.values()] for p, d in dice.items()},
    }


def against(own: Sequence[dict[str, Any]], base: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the paired difference in Dice from the arm that all are compared with."""
    if not base:
        return {}
    mine, theirs = (values(with_nodes(runs), "dice") for runs in (own, base))
    found = paired_comparison(mine, theirs)
    ends = [_rounded(found.ci_low), _rounded(found.ci_high)]
    return {"difference": _rounded(found.difference), "difference, 95 %": ends}


def with_nodes(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return runs with those patients who have nodes: of others no fraction can be found."""
    return [
        {**run, "cases": {p: own for p, own in run["cases"].items() if "lesion_sensitivity" in own}}
        for run in runs
    ]


def _without(run: dict[str, Any], marked: bool = False) -> int:
    """Return how many patients have no nodes; or of them, how many a mask gives some."""
    own = [case for case in run["cases"].values() if "lesion_sensitivity" not in case]
    return sum(case["dice"] < 1 for case in own) if marked else len(own)


def _rounded(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None
