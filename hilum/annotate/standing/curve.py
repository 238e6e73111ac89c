"""What runs reached with how many labelled patients, and what the next ones may bring."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hilum.core.runs import RUNTIME_ONLY
from hilum.core.settings import flat, read_yaml
from hilum.core.side_files import read_side
from hilum.evaluation.statistics.intervals import interval

DEEPEST = 4
"""How many folders down runs are searched for."""
WHOM = ("split", "seed", "store")
"""Settings that say whom a run sees, which number of its kind it is, and where things lie."""


@dataclass(frozen=True)
class Run:
    """A run that was tested.

    Attributes:
        folder: Of the run.
        patients: Labelled patients that it trained on.
        dice: Of each test patient, the mean over the cases where it is defined; NaN without any.
        settings: Of the run, with dots between groups; empty where no file says them.
    """

    folder: Path
    patients: int
    dice: dict[str, float]
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Point:
    """What runs with as many labelled patients reach on the same test patients.

    Attributes:
        patients: Labelled patients.
        runs: How many.
        dice: Mean over test patients and runs.
        low: Lower end of the 95 % interval, for other patients and other runs.
        high: Upper end.
    """

    patients: int
    runs: int
    dice: float
    low: float
    high: float


@dataclass(frozen=True)
class Gain:
    """What more patients would bring if the curve goes on as it did.

    Attributes:
        more: Patients.
        dice: Expected gain.
        low: Lower end of the 95 % interval over test patients; NaN where nothing tells.
        high: Upper end.
    """

    more: int
    dice: float
    low: float
    high: float


def runs_in(places: Sequence[str | Path], patients: Mapping[str, str]) -> list[Run]:
    """Return the tested runs below some folders.

    Args:
        places: Run folders, or folders of them.
        patients: Patient of each case; a run with other cases is passed over.
    """
    found = []
    for folder in sorted({f for place in places for f in _folders(Path(place), DEEPEST)}):
        split = read_side(folder / "split.json")
        metrics: dict[str, dict[str, Any]] = read_side(folder / "test" / "metrics.json")
        cases = next(iter(metrics.values()), {})
        if not cases or any(name not in patients for name in [*split.get("train", ()), *cases]):
            continue
        of: dict[str, list[float]] = {}
        for name, one in cases.items():
            value = one["metrics"].get("dice")
            of.setdefault(patients[name], []).append(math.nan if value is None else float(value))
        dice = {patient: _mean(values) for patient, values in of.items()}
        trained = {patients[name] for name in split.get("train", ())}
        found.append(Run(folder, len(trained), dice, _settings(folder)))
    return found


def of_networks(runs: Sequence[Run]) -> list[Run]:
    """Return the runs of networks: a rule learns no more from more labels than its limit."""
    return [run for run in runs if not any(k.startswith("baseline.") for k in run.settings)]


def differing(runs: Sequence[Run]) -> list[str]:
    """Return the settings that differ between runs, but for those that say whom a run sees.

    A curve over runs that differ in anything else is no curve of one method.
    """
    keys = sorted({key for run in runs for key in run.settings})
    return [
        key
        for key in keys
        if key.split(".")[0] not in WHOM
        and not set(key.split(".")) & RUNTIME_ONLY
        and len({repr(run.settings.get(key)) for run in runs if run.settings}) > 1
    ]


def curve_of(runs: Sequence[Run]) -> tuple[list[Point], dict[int, np.ndarray]]:
    """Return a point per number of labelled patients, and its table `[test patients, runs]`.

    Only patients that every run was tested on count, so that the points can be compared.
    """
    if not runs:
        return [], {}
    common = sorted(set.intersection(*(set(run.dice) for run in runs)))
    if not common:
        return [], {}
    tables: dict[int, np.ndarray] = {}
    for number in sorted({run.patients for run in runs}):
        own = [run for run in runs if run.patients == number]
        tables[number] = np.array([[run.dice[patient] for run in own] for patient in common])
    points = []
    for number, table in tables.items():
        value = float(np.nanmean(table))
        low, high = interval(value, table, (0, 1))
        points.append(Point(number, table.shape[1], value, low, high))
    return points, tables


def gain_of(tables: Mapping[int, np.ndarray], more: int) -> Gain | None:
    r"""Return what more patients would bring; nothing with fewer than two numbers of patients.

    $$\text{Dice} = a + b\log_2 n$$

    is fitted to the curve of each test patient (mean over runs) by least squares, so the slope of
    the mean is the mean of the slopes, and its interval that of a t test over patients. That is an
    extrapolation: it holds as long as the curve goes on as it did, and knows nothing of how draws
    of patients differ.
    """
    numbers = sorted(number for number in tables if number)  # none has no logarithm
    if len(numbers) < 2:
        return None
    x = np.log2(numbers)
    y = np.stack([np.nanmean(tables[number], 1) for number in numbers], 1)
    y = y[np.isfinite(y).all(1)]
    if not len(y):
        return None
    centred = x - x.mean()
    slopes = (y @ centred) / (centred @ centred)
    step = math.log2((numbers[-1] + more) / numbers[-1])
    value = float(slopes.mean()) * step
    low, high = interval(value, slopes[:, None] * step, (-math.inf, math.inf))
    return Gain(more, value, low, high)


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def _settings(folder: Path) -> dict[str, Any]:
    file = folder / "config.yaml"
    if not file.is_file():
        return {}
    values = read_yaml(file)
    # Which weights it starts from may change with the draw; whether it does is the method.
    start = {"init_from": None if values.get("init_from") is None else "a network"}
    return dict(flat(values | start))


def _folders(place: Path, deep: int) -> list[Path]:
    if not place.is_dir():
        return []
    ours = (place / "split.json").is_file() and (place / "test" / "metrics.json").is_file()
    inside = [p for p in place.iterdir() if p.is_dir() and not p.name.startswith(".")]
    below = [f for p in inside for f in _folders(p, deep - 1)] if deep else []
    return [*([place] if ours else []), *below]
