"""Measure how often each method finds a difference that is not there, over made studies.

`python benchmarks/false_alarms.py` writes `results/false_alarms.json` and, in `docs/pictures`,
`false_alarms.png`: two minutes.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from timing import write

mpl.use("Agg")
from matplotlib import pyplot as plt

from hilum.evaluation.simulation import World, false_alarms, false_equalities

STUDIES = 2000
SHAPES = ((6, 3), (12, 3), (18, 2), (18, 3), (18, 5), (40, 5), (40, 10))
CAUSES = {
    "patients differ": (0.1, 0.0, 0.05),
    "patients and single runs differ": (0.1, 0.02, 0.1),
    "runs differ a lot": (0.05, 0.05, 0.05),
}
PICTURE = Path(__file__).parent.parent / "docs" / "pictures" / "false_alarms.png"


def main() -> None:
    """Simulate every world, write the numbers, and draw them."""
    rows: list[dict[str, object]] = []
    figure, axes = plt.subplots(1, len(CAUSES), figsize=(11, 3.6), sharey=True)
    for axis, (cause, (patient, seed, both)) in zip(axes, CAUSES.items(), strict=True):
        found = []
        for patients, seeds in SHAPES:
            world = World(patients, seeds, patient, seed, both)
            shares = false_alarms(world, STUDIES)
            apart = World(patients, seeds, patient, seed, both, mean=0.05)
            equal = false_equalities(apart, 0.05, STUDIES)
            rows.append(
                {
                    "what": cause,
                    "patients": patients,
                    "seeds": seeds,
                    "false_alarms": shares,
                    "false_equalities": equal,
                }
            )
            found.append(shares)
            print(cause, patients, seeds, shares, equal, flush=True)
        for number, name in enumerate(found[0]):
            places = np.arange(len(SHAPES)) + (number - 1) * 0.15
            axis.plot(places, [100 * s[name] for s in found], "o", ms=5, label=name)
        axis.axhline(5, color="0.5", lw=1)
        axis.set_xticks(range(len(SHAPES)), [f"{p} x {s}" for p, s in SHAPES], fontsize=8)
        axis.set_title(cause, fontsize=10)
        axis.set_xlabel("patients x seeds")
    axes[0].set_ylabel("studies with a false difference, %")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=110)
    print(write("false_alarms", "python benchmarks/false_alarms.py", rows))


if __name__ == "__main__":
    main()
