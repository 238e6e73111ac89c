"""The drawings and pictures of a report, from what the cells left in their folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.files import read_json
from ..evaluation import charts
from .results import arm

if TYPE_CHECKING:
    from .ledger import Entry
    from .report import Findings

OVERLAYS = 3
"""Cases shown: the worst, the middle one and the best."""


def bars(found: Findings, metric: str) -> str:
    """Draw one bar per arm with its interval."""
    arms = [a for a in found.of(found.full) if metric in a.metrics]
    return charts.bars(
        [
            (
                a.arm,
                a.metrics[metric]["value"],
                a.metrics[metric]["ci_low"],
                a.metrics[metric]["ci_high"],
            )
            for a in arms
        ],
        label=metric,
    )


def forest(found: Findings) -> str:
    """Draw paired differences with their intervals."""
    return charts.forest(
        [
            (p.question, p.comparison.difference, p.comparison.ci_low, p.comparison.ci_high)
            for p in found.pairs
        ],
        label=f"difference of {found.study.metric}",
    )


def overlays(found: Findings, name: str) -> list[tuple[Path, str]]:
    """Return pictures of the worst, the middle and the best test case of an arm."""
    metric = found.study.metric
    scored = sorted(
        (
            (row.metrics[metric], row.case)
            for row in found.rows
            if arm(row.levels) == name
            and row.condition == found.full
            and row.metrics[metric] == row.metrics[metric]
        ),
    )
    if not scored:
        return []
    folders = [e.cell.folder for e in _finetuned(found) if arm(e.cell.levels) == name]
    picks = [scored[round(i * (len(scored) - 1) / (OVERLAYS - 1))] for i in range(OVERLAYS)]
    names = ("worst", "middle", "best")
    shown: dict[Path, str] = {}
    for which, (value, case) in zip(names, picks, strict=True):
        for folder in folders:
            file = folder / "test" / f"{case}.png"
            if file.exists():
                shown.setdefault(file, f"{name}: {which} test case {case}, {metric} {value:.3f}")
                break
    return list(shown.items())


def reconstructions(found: Findings) -> list[tuple[Path, str]]:
    """Return the last reconstruction of each pretraining run."""
    shown = []
    for entry in found.entries:
        files = sorted((entry.cell.folder / "pictures").glob("*.png"))
        if entry.cell.stage == "pretrain" and files:
            shown.append((files[-1], f"Pretraining {entry.cell.name}: input, masked, rebuilt"))
    return shown


def curves(found: Findings) -> list[tuple[str, str]]:
    """Draw the validation metric over steps, one line per cell, and the pretraining loss."""
    drawings = []
    for stage, key, text in (
        ("pretrain", "val/loss", "Pretraining: reconstruction loss on validation patches"),
        ("finetune", "val/dice", "Fine-tuning: Dice on validation patients"),
    ):
        lines = [
            (entry.cell.name, series)
            for entry in found.entries
            if entry.cell.stage == stage
            for series in [_series(entry.cell.folder / "metrics.jsonl", key)]
            if series
        ]
        if lines:
            drawings.append((charts.lines(lines, x_label="step", y_label=key), text))
    return drawings


def cost_of(found: Findings, name: str) -> list[str]:
    """Return parameters, FLOPs and training time of an arm as text."""
    summaries: list[dict[str, Any]] = [
        read_json(e.cell.folder / "summary.json")
        for e in _finetuned(found)
        if arm(e.cell.levels) == name
    ]
    if not summaries:
        return ["–", "–", "–"]
    seconds = [s["seconds"] for s in summaries if s.get("seconds")]
    parameters, flops = summaries[0].get("parameters"), summaries[0].get("flops")
    return [
        f"{parameters / 1e6:.2f}" if parameters else "–",
        f"{flops / 1e9:.1f}" if flops else "–",
        f"{sum(seconds) / len(seconds):.0f}" if seconds else "–",
    ]


def _finetuned(found: Findings) -> Sequence[Entry]:
    return [e for e in found.entries if e.cell.stage == "finetune" and e.state == "done"]


def _series(file: Path, key: str) -> list[tuple[float, float]]:
    """Read one metric from `metrics.jsonl`."""
    if not file.exists():
        return []
    points = []
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row.get(key) is not None:
            points.append((float(row["step"]), float(row[key])))
    return points
