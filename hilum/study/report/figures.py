"""The drawings and pictures of a report, from what the cells left in their folders."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from hilum.core.counts import many
from hilum.core.side_files import read_side
from hilum.core.undefined import number
from hilum.evaluation.charts import svg as charts
from hilum.training.metrics_file import read_metrics

from ..grid.arms import arm, repeating
from .compare import ArmSummary, higher_is_better
from .measurements import Row

if TYPE_CHECKING:
    from ..run.ledger import Entry
    from .results import Findings

OVERLAYS = 3
"""Cases shown: the worst, the middle one and the best."""
FEW_CHOOSE = 5
"""Validation patients below which the report warns of the choice of the weights."""
RECONSTRUCTIONS = 3
"""Pretraining runs shown."""


COSTS = ("parameters (M)", "GFLOPs per patch", "training (PFLOPs)", "CPU (s)", "GPU (s)")
"""What `Cost.texts` tells."""


class Cost(NamedTuple):
    """What an arm costs; NaN where no run says.

    Attributes:
        parameters: Of the segmenter.
        flops: Of one patch with every modality, forward.
        training: Operations of fine-tuning: those of the forward and backward pass of a patch,
            counted, times the patches of all steps; mean over runs.
        cpu: Seconds that processors worked in fine-tuning, over all threads; mean over runs.
        gpu: Seconds that GPUs were held; mean over runs.
    """

    parameters: float
    flops: float
    training: float
    cpu: float
    gpu: float

    def texts(self) -> list[str]:
        """Return the numbers under `COSTS` as text."""
        return [
            number(self.parameters / 1e6, ".2f"),
            number(self.flops / 1e9, ".1f"),
            number(self.training / 1e15, ".3g"),
            *(number(own, ".0f" if own >= 10 else ".1f") for own in (self.cpu, self.gpu)),
        ]


def overlays(found: Findings, name: str) -> list[tuple[Path, str]]:
    """Return pictures of the worst, the middle and the best test case of an arm, in one run."""
    metric = found.case_metric
    sign = 1 if higher_is_better(metric) else -1
    folders = folders_of(found)
    rows = [
        row
        for row in found.rows
        if row.arm == name and row.condition == found.full and _known(row.metrics.get(metric))
    ]
    rows = [row for row in rows if row.run == rows[0].run and picture_of(folders, row)]
    rows.sort(key=lambda row: sign * row.metrics[metric])
    if not rows:
        return []
    picks = [rows[round(i * (len(rows) - 1) / (OVERLAYS - 1))] for i in range(OVERLAYS)]
    shown: dict[Path, str] = {}
    for which, row in zip(("worst", "middle", "best"), picks, strict=True):
        text = f"{name}: {which} test case {row.case}, {metric} {row.metrics[metric]:.3f}"
        file = picture_of(folders, row)
        if file is not None:
            shown.setdefault(file, text)
    return list(shown.items())


def picture_of(folders: Mapping[tuple[str, ...], Path], row: Row) -> Path | None:
    """Return the overlay that the row's own cell drew of its case."""
    folder = folders.get(_key(row.levels))
    file = folder / "test" / f"{row.case}.png" if folder else None
    return file if file is not None and file.exists() else None


def folders_of(found: Findings) -> dict[tuple[str, ...], Path]:
    """Return the folder of every fine-tuning cell that is done, for `picture_of`."""
    return {_key(e.cell.described): e.cell.folder for e in _finetuned(found)}


def reconstructions(found: Findings) -> list[tuple[Path, str]]:
    """Return the last reconstruction of some pretraining runs."""
    shown = []
    for entry in found.entries:
        if entry.cell.stage != "pretrain" or len(shown) == RECONSTRUCTIONS:
            continue
        files = sorted((entry.cell.folder / "pictures").glob("*.png"))
        if files:
            text = f"Pretraining {entry.cell.name}: input, and what the task made of it"
            shown.append((files[-1], text))
    return shown


def curves(found: Findings) -> list[tuple[Markup, str]]:
    """Draw the pretraining loss and the validation Dice over steps, one line per arm.

    A line is the mean over the runs of an arm; of many arms, the best ones.
    """
    order = [one.arm for one in found.ranked()]
    most = len(charts.COLOURS)
    drawings = []
    for stage, key, text in (
        ("pretrain", "val/loss", "Pretraining: loss of each task on its validation patches"),
        ("finetune", "val/dice", "Fine-tuning: val/dice of validation patients, mean over runs"),
    ):
        cells: dict[str, list[Path]] = {}
        for entry in found.entries:
            if entry.cell.stage == stage:
                cells.setdefault(arm(entry.cell.described), []).append(entry.cell.folder)
        if stage == "finetune":
            names = [name for name in order if name in cells]
            names += [name for name in cells if name not in names]
        else:
            names = list(cells)
        lines = []
        for name in names:
            if len(lines) == most:
                break
            series = _mean([_series(folder / "metrics.jsonl", key) for folder in cells[name]])
            if series:
                lines.append((name, series))
        if lines:
            some = f"; {most} of {len(names)} arms" if len(names) > most else ""
            drawings.append((charts.lines(lines, x_label="step", y_label=key), text + some))
    return drawings


def cost_of(found: Findings, name: str) -> Cost:
    """Return parameters, operations and processor time of an arm; means are over its runs."""
    summaries: list[dict[str, Any]] = [
        read_side(file)
        for e in _finetuned(found)
        if arm(e.cell.described) == name
        for file in [e.cell.folder / "summary.json"]
        if file.exists()
    ]

    def mean(key: str) -> float:
        known = [s[key] for s in summaries if isinstance(s.get(key), int | float)]
        return sum(known) / len(known) if known else math.nan

    return Cost(*map(mean, ("parameters", "flops", "training_flops", "cpu_seconds", "gpu_seconds")))


def chosen_by(found: Findings) -> list[str]:
    """Return in sentences how many validation patients chose the weights of the cells."""
    counts: Counter[tuple[int, int]] = Counter()
    unchosen = 0
    for entry in _finetuned(found):
        file = entry.cell.folder / "summary.json"
        about = read_side(file) if file.exists() else {}
        patients, validations = about.get("val/patients"), about.get("validations")
        if about.get("best") is None or not patients or not validations:
            # A rule, and a network that no label trained, have no weights to choose.
            unchosen += bool(about.get("steps"))
        else:
            counts[int(patients), int(validations)] += 1
    lines = [
        f"The weights of {many(cells, 'cell')} are the best of {many(validations, 'validation')} "
        f"on {many(patients, 'validation patient')}"
        + (": few, so chance chooses, too." if patients < FEW_CHOOSE else ".")
        for (patients, validations), cells in sorted(counts.items())
    ]
    if unchosen:
        whose = f"The weights of {many(unchosen, 'cell')}"
        lines.append(f"{whose} are the last or averaged ones: nobody chose them.")
    return lines


def bases(found: Findings) -> dict[str, ArmSummary]:
    """Return, for each arm, the arm at the reference's levels and else its own, if there is one."""
    levels = {row.arm: row.levels for row in found.rows}
    arms = {one.arm: one for one in found.of(found.full)}
    repeats = repeating(found.study)
    base = {name: level for name, level in found.study.reference.items() if name not in repeats}
    pairs = {name: arm(own | base) for name, own in levels.items()}
    return {name: arms[base] for name, base in pairs.items() if base in arms}


def _finetuned(found: Findings) -> Sequence[Entry]:
    return [e for e in found.entries if e.cell.stage == "finetune" and e.state == "done"]


def _key(levels: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{name}={level}" for name, level in levels.items())


def _mean(series: Sequence[list[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Return the mean of several curves at every step that any of them has."""
    points: dict[float, list[float]] = {}
    for curve in series:
        for step, value in curve:
            points.setdefault(step, []).append(value)
    return [(step, sum(values) / len(values)) for step, values in sorted(points.items())]


def _series(file: Path, key: str) -> list[tuple[float, float]]:
    """Read one metric from `metrics.jsonl`."""
    if not file.exists():
        return []
    # Most lines are of training steps; parsing them all takes seconds.
    rows = read_metrics(file, lambda line: f'"{key}"' in line)
    return [(float(row["step"]), float(row[key])) for row in rows if row.get(key) is not None]


def _known(value: float | None) -> bool:
    return value is not None and value == value
