"""Measure how often each method finds a difference that is not there, over made studies.

`python benchmarks/false_alarms.py` writes `results/false_alarms.json` and, in `docs/pictures`,
`false_alarms.png`: four minutes on one core.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from timing import write

mpl.use("Agg")
from matplotlib import pyplot as plt

from hilum.evaluation.statistics.simulation import (
    World,
    false_alarms,
    false_equalities,
    pooled_false_alarms,
)

STUDIES = 2000
SHAPES = ((6, 3, 1), (12, 3, 1), (18, 2, 1), (18, 3, 1), (18, 5, 1), (40, 5, 1), (18, 2, 5))
"""Test patients, seeds per draw of the labelled patients, draws."""
CAUSES: dict[str, dict[str, float]] = {
    "patients differ": {"patient": 0.1, "seed": 0, "both": 0.05},
    "patients and single runs differ": {"patient": 0.1, "seed": 0.02, "both": 0.1, "draw": 0.02},
    "runs differ a lot": {"patient": 0.05, "seed": 0.05, "both": 0.05, "draw": 0.05},
}
ONCE = "runs differ a lot, and so would other draws than the only one"
POOLED = "DSCagg: runs differ"
PICTURE = Path(__file__).parent.parent / "docs" / "pictures" / "false_alarms.png"
COLOURS = ("#0072b2", "#d55e00", "#009e73")


def world(shape: tuple[int, int, int], cause: dict[str, float], **more: float) -> World:
    """Return a world of this many patients, seeds and draws; a single draw is no chance in it."""
    patients, seeds, draws = shape
    cause = {**cause, "draw": cause.get("draw", 0) if draws > 1 else 0}
    return World(patients, seeds, draws=draws, **{**cause, **more})  # pyright: ignore[reportArgumentType]


def measure() -> list[dict[str, Any]]:
    """Simulate every world."""
    rows: list[dict[str, Any]] = []
    for cause, spread in CAUSES.items():
        for shape in SHAPES:
            shares = false_alarms(world(shape, spread), STUDIES)
            apart = false_equalities(world(shape, spread, mean=0.05), 0.05, STUDIES)
            rows.append(row(cause, shape, shares) | {"false_equalities": apart})
            print(rows[-1], flush=True)
    unseen = world((18, 5, 1), CAUSES["runs differ a lot"], draw=0.05)
    rows.append(row(ONCE, (18, 5, 1), false_alarms(unseen, STUDIES)))
    for shape in SHAPES:
        spread = {"patient": 0.5, "seed": 0.2, "both": 0.3, "draw": 0.2}
        rows.append(row(POOLED, shape, pooled_false_alarms(world(shape, spread), STUDIES)))
        print(rows[-1], flush=True)
    return rows


def row(what: str, shape: tuple[int, int, int], shares: dict[str, float]) -> dict[str, Any]:
    """Return one line of the results."""
    keys = ("patients", "seeds", "draws")
    return {"what": what, **dict(zip(keys, shape, strict=True)), "false_alarms": shares}


def draw(rows: list[dict[str, Any]]) -> None:
    """Draw a panel per cause."""
    figure, axes = plt.subplots(1, len(CAUSES) + 1, figsize=(13, 4.2), sharey=True)
    for axis, cause in zip(axes, [*CAUSES, POOLED], strict=True):
        found = [r["false_alarms"] for r in rows if r["what"] == cause]
        for number, name in enumerate(found[0]):
            places = np.arange(len(SHAPES)) + (number - 1) * 0.18
            shares = [100 * s[name] for s in found]
            axis.plot(places, shares, "os^"[number], ms=5, color=COLOURS[number], label=name)
        axis.axhline(5, color="0.4", lw=1)
        axis.set_xticks(range(len(SHAPES)), ["\n".join(map(str, s)) for s in SHAPES], fontsize=8)
        axis.set_title(cause, fontsize=10)
        axis.set_xlabel("patients, seeds, draws", fontsize=9)
        if cause in (next(iter(CAUSES)), POOLED):
            axis.legend(fontsize=8, loc="upper left")
    axes[0].set_ylabel("made studies with a false difference, %")
    axes[0].set_ylim(0, None)
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=110)


def main() -> None:
    """Measure, write and draw."""
    rows = measure()
    draw(rows)
    print(write("false_alarms", "python benchmarks/false_alarms.py", rows))


if __name__ == "__main__":
    main()
