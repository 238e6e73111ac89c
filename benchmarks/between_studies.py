"""An arm of one study less an arm of another, over the patients and runs that both have.

    hilum study collect recipes/study/real_nodes.yaml --out work/real_nodes
    hilum study collect recipes/study/real_phantoms.yaml --out work/real_phantoms
    python benchmarks/between_studies.py work/real_phantoms "labelled phantoms" work/real_nodes
        "synthetic nodes" [--metric dice] [--factor labels] [--out TABLE.csv]

Both must have tested the same patients with the same labelled ones, as studies of one store and the
same split do; a run is known by its level of the factor, draw and seed, and a patient is tested in
one fold of it. One row per level of the factor and one of their mean: mean of both sides, and the
paired difference with the 95 % interval of two-way random effects, for other patients and other
runs, not adjusted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from study_runs import by_run, difference, named, write

from hilum.core.errors import DataError

Run = tuple[str, ...]
Runs = Mapping[Run, Mapping[str, float]]
"""Value of each patient by run."""


def runs_of(study: Path, arm: str, metric: str, factor: str, cases: str = "") -> Runs:
    """Return what an arm of a study reached, in cases whose name begins so.

    Raises:
        DataError: If it has no such arm.
    """
    file = study / "results.csv"
    found = by_run(
        file,
        metric,
        "arm",
        lambda row: (row.get(factor, ""), row.get("split.draw", ""), row.get("seed", "")),
        cases,
    )
    return named(found, arm, file)


def rows(one: Runs, other: Runs) -> list[dict[str, object]]:
    """Return a row per level of the factor, and one of all.

    Raises:
        DataError: If no run is in both.
    """
    shared = sorted(set(one) & set(other))
    if not shared:
        raise DataError("the studies must share runs", remedy="run both with the same draws")
    levels = sorted({run[0] for run in shared})
    found: list[dict[str, object]] = [
        {"level": level, **difference(one, other, [run for run in shared if run[0] == level])}
        for level in levels
    ]
    # A draw and seed with several levels is one run: its levels are no independent ones.
    whole = sorted({run[1:] for run in shared if all((n, *run[1:]) in shared for n in levels)})
    if whole:
        means = [
            {run: _mean([own[n, *run] for n in levels]) for run in whole} for own in (one, other)
        ]
        found.append({"level": "all", **difference(means[0], means[1], whole)})
    return found


def _mean(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    patients = set.intersection(*map(set, runs))
    return {name: sum(run[name] for run in runs) / len(runs) for name in patients}


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    for name in ("one", "other"):
        parser.add_argument(name, type=Path, help="folder of a study that was collected")
        parser.add_argument(f"{name}_arm", help="arm of it")
    parser.add_argument("--metric", default="dice")
    parser.add_argument("--factor", default="labels", help="rows of the table")
    parser.add_argument("--cases", default="", help="only cases whose name begins so: phantom_c")
    parser.add_argument("--out", type=Path, help="CSV with the same rows")
    asked = parser.parse_args()
    found = rows(
        runs_of(asked.one, asked.one_arm, asked.metric, asked.factor, asked.cases),
        runs_of(asked.other, asked.other_arm, asked.metric, asked.factor, asked.cases),
    )
    for row in found:
        print(
            "{level}: {one:.3f} less {other:.3f}: {difference:+.3f} [{low:+.3f}, {high:+.3f}], "
            "{patients} patients, {runs} runs".format(**row)
        )
    if asked.out is not None:
        write(asked.out, found)


if __name__ == "__main__":
    main()
