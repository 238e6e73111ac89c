"""Measure on simulated studies how often intervals and tests err, against other ways to do it.

`python benchmarks/study_statistics.py` writes `results/study_statistics.json`, the tables of
`docs/study-statistics.md` (between its marks) and `docs/pictures/study_statistics.png`: about seven
minutes on one core. `--studies 100` is a quick look, which writes nothing into the docs.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from timing import write

mpl.use("Agg")
from matplotlib import pyplot as plt

from hilum.evaluation.statistics.interval_simulation import WAYS, coverage, labels_coverage
from hilum.evaluation.statistics.simulation import METHODS, World, errors

STUDIES = 1000
KINDS = ("normal", "collapses", "log-normal patients", "seeds only")
METRICS = ("dice", "dscagg", "f1agg")
PATIENTS, SEEDS = (8, 24), (2, 3, 5)
COHORTS = ("normal Dice", "skewed Dice", "Dice with zeros", "DSCagg", "F1agg")
FEW = (3, 5, 8, 12, 24)
COLOURS = dict(zip(METHODS, ("#0072b2", "#56b4e9", "#999999", "#d55e00", "#009e73"), strict=True))
DOCS = Path(__file__).parent.parent / "docs"
MARK = "<!-- study_statistics: {} -->"


def comparisons(studies: int) -> list[dict[str, Any]]:
    """Simulate every design of four arms, and one in which draws were not varied."""
    designs = [*itertools.product(METRICS, KINDS, PATIENTS, SEEDS), ("dice", "other draws", 24, 5)]
    rows = []
    for metric, kind, patients, seeds in designs:
        world = World(kind, patients, seeds, metric=metric, gain=0.05)
        found = {name: one._asdict() for name, one in errors(world, studies).items()}
        rows.append({"metric": metric, "kind": kind, "patients": patients, "seeds": seeds} | found)
        print(metric, kind, patients, seeds, found["moderated"], flush=True)
    return rows


def cohorts(studies: int) -> list[dict[str, Any]]:
    """Simulate cohorts of few patients."""
    rows = []
    for kind, patients in itertools.product(COHORTS, FEW):
        found = coverage(kind, patients, 2 * studies)
        ways = {way: {"coverage": c, "width": w} for way, (c, w) in found.items()}
        rows.append({"kind": kind, "patients": patients} | ways)
        print(kind, patients, found, flush=True)
    return rows


def labels(studies: int) -> list[dict[str, Any]]:
    """Simulate curves over labels."""
    designs = itertools.product((4, 8, 24), (2, 3, 5))
    return [
        {"patients": p, "seeds": s, "coverage": labels_coverage(p, s, studies // 4)}
        for p, s in designs
    ]


def draw(rows: list[dict[str, Any]]) -> None:
    """Draw false alarms above and power below, a panel per kind; Dice only."""
    figure, axes = plt.subplots(2, len(KINDS), figsize=(13, 6.4), sharex=True, sharey="row")
    designs = list(itertools.product(PATIENTS, SEEDS))
    for column, kind in enumerate(KINDS):
        own = [r for r in rows if r["kind"] == kind and r["metric"] == "dice"]
        for number, method in enumerate(METHODS):
            places = np.arange(len(designs)) + (number - 2) * 0.13
            for axis, key in zip(axes[:, column], ("false_alarms", "power"), strict=True):
                if key == "power" and method in ("hierarchical bootstrap", "runs averaged"):
                    continue  # A test that does not keep its level has no power to speak of.
                values = [100 * r[method][key] for r in own]
                axis.plot(
                    places, values, "osv^D"[number], ms=5, color=COLOURS[method], label=method
                )
        axes[0, column].axhspan(3, 7, color="0.9", zorder=0)
        axes[0, column].set_title(kind, fontsize=10)
        axes[1, column].set_xticks(
            range(len(designs)), [f"{p}\n{s}" for p, s in designs], fontsize=8
        )
        axes[1, column].set_xlabel("patients, seeds", fontsize=9)
    axes[0, 0].set_ylim(0, 40)
    axes[0, 0].set_ylabel("equal arms called different, %")
    axes[1, 0].set_ylabel("arms 0.05 apart found different, %")
    axes[0, 0].legend(fontsize=8, loc="upper left")
    figure.tight_layout()
    figure.savefig(DOCS / "pictures" / "study_statistics.png", dpi=100)
    plt.close(figure)


def tables(found: dict[str, Any]) -> dict[str, list[str]]:
    """Return the tables of the docs as lines of Markdown."""
    head = [
        "| metric, kind | patients, seeds | false alarms, % (before) | coverage, % "
        "| power, % (before) | half width (before) | falsely equal, % |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines = []
    for row in found["comparisons"]:
        new, old = row["moderated"], row["unbounded"]
        lines.append(
            f"| {row['metric']}, {row['kind']} | {row['patients']}, {row['seeds']} "
            f"| {100 * new['false_alarms']:.1f} ({100 * old['false_alarms']:.1f}) "
            f"| {100 * new['coverage']:.1f} "
            f"| {100 * new['power']:.0f} ({100 * old['power']:.0f}) "
            f"| {new['half_width']:.2f} ({old['half_width']:.2f}) "
            f"| {100 * new['false_equalities']:.1f} |"
        )
    few = [
        f"| {row['kind']} | {row['patients']} | "
        + " | ".join(f"{100 * row[way]['coverage']:.0f}" for way in WAYS)
        + " |"
        for row in found["cohorts"]
    ]
    few_head = [f"| | patients | {' | '.join(WAYS)} |", "| --- | --- " + "| --- " * len(WAYS) + "|"]
    needed = [
        f"| {row['patients']} | {row['seeds']} | {100 * row['coverage']:.0f} |"
        for row in found["labels"]
    ]
    needed_head = ["| patients | seeds | coverage, % |", "| --- | --- | --- |"]
    return {
        "comparisons": head + lines,
        "cohorts": few_head + few,
        "labels": needed_head + needed,
    }


def into_docs(found: dict[str, Any]) -> None:
    """Put each table between its marks."""
    file = DOCS / "study-statistics.md"
    text = file.read_text(encoding="utf-8")
    for name, lines in tables(found).items():
        start, end = MARK.format(name), MARK.format(f"end of {name}")
        before, _, rest = text.partition(start)
        _, _, after = rest.partition(end)
        text = before + start + "\n" + "\n".join(lines) + "\n" + end + after
    file.write_text(text, encoding="utf-8")


def main() -> None:
    """Measure, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=STUDIES)
    studies = parser.parse_args().studies
    found = {
        "comparisons": comparisons(studies),
        "cohorts": cohorts(studies),
        "labels": labels(studies),
    }
    if studies < STUDIES:
        print("\n\n".join("\n".join(lines) for lines in tables(found).values()))
        return
    rows = [{"table": name, **row} for name, own in found.items() for row in own]
    print(write("study_statistics", "python benchmarks/study_statistics.py", rows))
    draw(found["comparisons"])
    into_docs(found)


if __name__ == "__main__":
    main()
