"""What labelled patients bring that choose an operating point, and what they cost.

    hilum study collect recipes/study/validated_point.yaml --out work/validated_point
    python benchmarks/validated_point.py work/validated_point [--out TABLE.csv]

First the same networks twice: Dice at the validated point less Dice at the most probable class, in
each arm in which patients choose. Then arms of as many labelled patients in all: where some choose
(at their point) less where all train (at the most probable class); and the same by the average
precision over voxels, which no operating point changes. Differences are paired over test patients
and runs, with the 95 % interval of two-way random effects, for other patients and other runs; they
are not adjusted. Works on a study that is not done yet: only runs that both sides have count.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from study_runs import by_run, difference, write

CHOOSING = {"one trains, one chooses": "two train", "three train, two choose": "five train"}
"""Each arm in which patients choose, with the one in which all of them train."""
SCANNERS = {"all": "", "a": "phantom_a_", "c": "phantom_c_"}
Runs = Mapping[str, Mapping[str, float]]
"""Value of each patient by seed."""


def paired(one: Runs, other: Runs) -> dict[str, object]:
    """Return means of both sides and their difference over shared runs and patients."""
    return difference(one, other, sorted(set(one) & set(other)))


def rows(file: Path) -> list[dict[str, object]]:
    """Return a row per comparison and scanner whose runs are there."""
    found: list[dict[str, object]] = []
    for scanner, prefix in SCANNERS.items():
        point, argmax, precision = (
            by_run(file, metric, "patients", lambda row: row["seed"], prefix)
            for metric in ("dice", "dice_argmax", "voxel_average_precision")
        )
        for some, everybody in CHOOSING.items():
            for what, one, other in (
                (f"{some}: point less most probable class", point.get(some), argmax.get(some)),
                (f"{some}, less {everybody}", point.get(some), argmax.get(everybody)),
                (
                    f"{some}, less {everybody}: average precision",
                    precision.get(some),
                    precision.get(everybody),
                ),
            ):
                if one and other and set(one) & set(other):
                    found.append({"comparison": what, "scanner": scanner, **paired(one, other)})
    return found


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--out", type=Path, help="CSV with a row per comparison and scanner")
    asked = parser.parse_args()
    found = rows(asked.study / "results.csv")
    if not found:
        raise SystemExit(f"{asked.study}: no arm and its counterpart are done yet")
    for row in found:
        print("  ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()))
    if asked.out:
        write(asked.out, found)


if __name__ == "__main__":
    main()
