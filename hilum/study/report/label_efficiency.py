"""Label efficiency: what each arm reaches with how many labelled patients, and needs to equal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hilum.core.settings import validate
from hilum.core.side_files import read_side
from hilum.evaluation.statistics.efficiency import LabelsNeeded, labels_needed
from hilum.evaluation.statistics.runs import Values, align
from hilum.segmenter.baseline.rule import BaselineSettings

from ..grid.arms import REPEATS, arm
from .compare import higher_is_better
from .measurements import Row, by_arm, per_patient

if TYPE_CHECKING:
    from ..run.ledger import Entry
    from ..settings import StudySettings
    from .results import Findings

Point = tuple[float, float, float, float]
"""Labelled patients, value, lower and upper end of its interval."""


@dataclass(frozen=True)
class Needed:
    """How many labelled patients a line needs to reach another one.

    Attributes:
        line: Arm but for the number of labels, such as `pretraining: mae, fusion: early`.
        other: What it is to reach, such as `pretraining: none, fusion: early`.
        labels: Labelled patients that the other had.
        found: How many the line needs.
        seeds: Seeds that both have.
    """

    line: str
    other: str
    labels: int
    found: LabelsNeeded
    seeds: int


def labels_of(study: StudySettings) -> tuple[str, dict[str, int]]:
    """Return the factor that sets the number of labelled patients, and the number of each level.

    The name is empty if the study has none with two numbers at least.
    """
    for name, levels in study.factors.items():
        found: dict[str, int] = {}
        for level in levels:
            value: Any = level if name == "split.labels" else None
            if isinstance(levels, dict):
                own = levels[level]
                value = own.get("split.labels", dict(own.get("split", {})).get("labels"))
            if isinstance(value, int):
                found[str(level)] = value
        if len(set(found.values())) > 1:
            return name, found
    return "", {}


def curves(found: Findings) -> list[tuple[str, list[Point]]]:
    """Return a curve per arm, the number of labels apart.

    Single points are left out, but for a baseline that no label chose: it is level everywhere.
    """
    factor, numbers = labels_of(found.study)
    levels = {row.arm: row.levels for row in found.rows}
    lines: dict[str, list[Point]] = {}
    for one in found.of(found.full):
        value = one.metrics.get(found.study.metric)
        own = levels.get(one.arm, {})
        if value is None or str(own.get(factor)) not in numbers:
            continue
        point = (value["value"], value["ci_low"], value["ci_high"])
        count = float(numbers[str(own[factor])])
        lines.setdefault(_line(own, factor), []).append((count, *point))
    ends = sorted(set(numbers.values()))
    for name in _fixed(found, factor):
        if len(lines.get(name, ())) == 1:
            [(_, *point)] = lines[name]
            lines[name] = [(float(end), *point) for end in (ends[0], ends[-1])]  # pyright: ignore
    return [(name, sorted(points)) for name, points in lines.items() if len(points) > 1]


def patients(entries: Sequence[Entry], factor: str, numbers: dict[str, int]) -> list[str]:
    """Say in sentences what the splits of the cells have in common; it is read, not assumed.

    A level may set more of the split than the number, and so change who tests or who is chosen.
    """
    tests: dict[tuple[str, ...], set[frozenset[str]]] = {}
    trained: dict[tuple[str, ...], set[frozenset[str]]] = {}
    for entry in entries:
        file, own = entry.cell.folder / "split.json", entry.cell.described
        if entry.state == "done" and str(own.get(factor)) in numbers and file.exists():
            split, key = read_side(file), tuple(str(own.get(name)) for name in REPEATS[:-1])
            tests.setdefault(key, set()).add(frozenset(split["test"]))
            trained.setdefault(key, set()).add(frozenset(split["train"]))
    if not tests:
        return []
    one = all(len(own) == 1 for own in tests.values())
    several = len(set.union(*tests.values())) > 1
    of_fold = " of each fold or draw" if several else ""
    nested = all(a <= b or b <= a for own in trained.values() for a in own for b in own)
    return [
        (
            f"The same test patients{of_fold} throughout. "
            if one
            else "Test patients differ from number to number: so may what is reached. "
        )
        + (
            "Labelled patients of a smaller set are part of the larger one of the same draw."
            if nested
            else "Labelled patients of a smaller set are not all in the larger one: who they are "
            "differs, too."
        )
    ]


def _fixed(found: Findings, factor: str) -> set[str]:
    """Return the lines that no label moves: rules whose numbers are all given."""
    rules = [(e.cell.described, e.cell.settings.get("baseline")) for e in found.entries]
    return {
        _line(levels, factor)
        for levels, rule in rules
        if rule is not None and not validate(BaselineSettings, rule).chooses
    }


def needed(study: StudySettings, rows: Sequence[Row], condition: str) -> list[Needed]:
    """Return, for every line that is compared with a reference, the labels that it needs.

    A line is an arm but for the number of labels. For each factor with a reference, each line at
    another level is asked what it needs to reach the line at the reference, at each number of
    labels that the latter was trained with.
    """
    factor, numbers = labels_of(study)
    if not factor:
        return []
    levels = {row.arm: row.levels for row in rows}
    lines: dict[str, dict[int, Values]] = {}
    first: dict[str, dict[str, Any]] = {}
    for name, own in by_arm(rows, condition).items():
        if str(levels[name].get(factor)) in numbers:
            line = _line(levels[name], factor)
            first.setdefault(line, levels[name])
            values = per_patient(own, study.metric)
            lines.setdefault(line, {})[numbers[str(levels[name][factor])]] = values
    found = []
    for reference, base in study.reference.items():
        for line, own in first.items():
            other = _line(own | {reference: base}, factor)
            if reference != factor and other != line and other in lines and len(lines[line]) > 1:
                found += _reach(study, line, lines[line], other, lines[other])
    return found


def _reach(
    study: StudySettings,
    line: str,
    own: dict[int, Values],
    other: str,
    targets: dict[int, Values],
) -> list[Needed]:
    sign = 1 if higher_is_better(study.metric) else -1
    found = []
    for labels, target in sorted(targets.items()):
        aligned = align([*own.values(), target])
        if not aligned.patients or not aligned.runs:
            continue
        cube = sign * aligned.cube
        reached = labels_needed(
            dict(zip(own, cube[:-1], strict=True)), cube[-1], draws=aligned.draws
        )
        found.append(Needed(line, other, labels, reached, aligned.n_seeds))
    return found


def text(found: LabelsNeeded, most: int) -> str:
    """Return `3.2 [2.1, 5.0]`; what lies beyond the most labels tried is `> 16`."""
    if math.isnan(found.needed):
        return "–"
    number, low, high = (_count(x, most) for x in (found.needed, found.low, found.high))
    return f"{number} [{low}, {high}]"


def _count(value: float, most: int) -> str:
    return f"> {most}" if math.isinf(value) else f"{value:.1f}".removesuffix(".0")


def _line(levels: dict[str, Any], factor: str) -> str:
    return arm({name: level for name, level in levels.items() if name != factor})
