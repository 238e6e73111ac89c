"""From a study file to cells: every run of the grid, each with its settings, hash and folder."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from hilum.core.errors import SettingsError
from hilum.core.files import hash_of
from hilum.core.methods import spelled_out
from hilum.core.registry import Table
from hilum.core.runs import RUNTIME_ONLY
from hilum.core.settings import S, load, merged
from hilum.datasets.store.places import Place
from hilum.encoders import ENCODERS
from hilum.encoders.decoders import DECODERS
from hilum.fusion import STRATEGIES
from hilum.losses import LOSSES
from hilum.pretrain import TASKS

from ..settings import StudySettings, covers
from .arms import described, repeating
from .outside import read_by_content

Stage = Literal["pretrain", "finetune"]
STAGES: tuple[Stage, ...] = ("pretrain", "finetune")

METHODS: dict[str, Table] = {
    "encoder": ENCODERS,
    "decoder": DECODERS,
    "fusion": STRATEGIES,
    "task": TASKS,
    "loss": LOSSES,
}
"""Settings that name a method, and the table that it is from."""

Data = str | Callable[[Place], str]

_PLACES = RUNTIME_ONLY | {"store"}


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        stage: Which command runs it.
        levels: Level of each factor; for a pretraining cell those that chose it.
        described: The same for the report: repetitions as the draw, fold and seed that they are.
        settings: Settings as nested plain values.
        key: Hash of stage, settings and data: equal runs are one cell.
        folder: Where it runs, below the study's folder.
        needs: Folder of the pretraining cell whose encoder it starts from.
        data: Fingerprint of its case store; empty where nobody checks it.
        recipe: Hash as `key`, but without the data and the sources of foreign methods: what the
            cell was before its store or a method changed.
        sources: Hash of the source of each method that is not ours, by its setting.
        also: Names of other combinations of levels with these very settings: they are this cell.
    """

    stage: Stage
    levels: dict[str, Any]
    settings: dict[str, Any]
    key: str
    folder: Path
    needs: Path | None = field(default=None)
    data: str = ""
    recipe: str = ""
    sources: dict[str, str] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    described: dict[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether its run ended well."""
        return (self.folder / "DONE").exists()

    @property
    def name(self) -> str:
        """Levels in one readable line."""
        return " > ".join(str(level) for level in self.levels.values())


def expand(study: StudySettings, out: Path, data: Data = "") -> list[Cell]:
    """Return every cell of the grid, each pretraining run once, before what needs it.

    A cell that is on disk already, perhaps under other names of its levels, keeps its folder.

    Args:
        study: The study.
        out: Folder of the study.
        data: Fingerprint of a case store by its path, or of all of them; part of each cell's
            identity, so that cells of a changed store are new cells.
    """
    known = {name[-8:]: name for stage in STAGES for name in _names(out / stage)}
    data_of = data if callable(data) else (lambda store: data)
    plan = _Plan(study, out, data_of, known, repeating(study))
    if not study.factors:
        raise SettingsError("a study must have factors", remedy="as in factors: {seed: [0, 1]}")
    pretraining: dict[str, Cell] = {}
    asked: dict[str, Cell] = {}
    finetuning: dict[str, Cell] = {}
    twins: list[tuple[Cell, Cell]] = []
    for levels in _combinations(study):
        chosen = [study.level(name, level) for name, level in levels.items()]
        pretrain = _pretraining(chosen)
        tested = {"conditions": study.conditions} if study.conditions else {}
        own = [{k: v for k, v in level.items() if not _of_pretraining(k)} for level in chosen]
        # A pool of a level takes the place of the study's: joined, it would add patients unasked.
        store = {} if any("store" in level for level in own) else {"store": study.store}
        settings = _settings({**store, **tested}, study.finetune, *own)
        first = None
        if pretrain is not None:
            same = json.dumps(pretrain, sort_keys=True, default=str)
            if same not in asked:
                first = _pretraining_cell(plan, levels, pretrain)
                asked[same] = pretraining.setdefault(first.key, first)
            first = asked[same]
            parts = settings.get("transfer", {}).get("parts")
            # Without labels nothing is trained: the pretrained network is tested as it is.
            untrained = settings.get("split", {}).get("labels") == 0
            whole = untrained or parts in ("encoder+decoder", "whole")
            settings["init_from"] = str(first.folder / ("network" if whole else "encoder"))
        cell = plan.cell("finetune", levels, settings, first)
        same = finetuning.setdefault(cell.key, cell)
        if same is not cell:
            finetuning[cell.key] = replace(same, also=(*same.also, cell.name))
            twins.append((cell, same))
    if not finetuning:
        raise SettingsError("exclude must leave some combination", remedy="remove one of its rows")
    _every_level_counts(list(finetuning.values()), twins)
    return [*pretraining.values(), *finetuning.values()]


def _every_level_counts(cells: list[Cell], twins: list[tuple[Cell, Cell]]) -> None:
    """Refuse a level that no cell has, since each of its combinations equals one of another level.

    No table would have it, and nobody would see that what it should change is unchanged.
    """
    there = {(name, str(level)) for cell in cells for name, level in cell.levels.items()}
    for twin, cell in twins:
        for name, level in twin.levels.items():
            if (name, str(level)) not in there:
                raise SettingsError(
                    f"level {str(level)!r} of {name!r} must change something",
                    found=f"{twin.name} has the settings of {cell.name}",
                    remedy="remove the level, or set what it should differ in",
                )


@dataclass(frozen=True)
class _Plan:
    """What turns settings into cells: where, from which data, and what is there already."""

    study: StudySettings
    out: Path
    data: Callable[[Place], str]
    known: dict[str, str]
    repeats: set[str]

    def cell(
        self, stage: Stage, levels: dict[str, Any], settings: dict[str, Any], first: Cell | None
    ) -> Cell:
        data = self.data(settings["store"])
        own = _identity(settings) | read_by_content(settings, weights=first is None)
        sources = foreign_sources(settings)
        start = {} if first is None else {"init_from": first.key}
        key = hash_of([data, stage, own | start, *([sources] if sources else [])])
        recipe = hash_of([stage, own | ({} if first is None else {"init_from": first.recipe})])
        name = self.known.get(key[:8]) or f"{_slug(levels)}-{key[:8]}"
        needs = None if first is None else first.folder
        return Cell(
            stage,
            levels,
            settings,
            key,
            self.out / stage / name,
            needs,
            data,
            recipe,
            sources,
            described=described(self.study, levels, self.repeats),
        )


def foreign_sources(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return a hash of the source of each method that is not ours, by its setting.

    Raises:
        SettingsError: If a method is unknown, or its source cannot be found.
    """
    found = {}
    for key, table in METHODS.items():
        spec = settings.get(key)
        name = spec.get("name") if isinstance(spec, dict) else None
        if isinstance(name, str) and name in table and (mark := table.fingerprint(name)):
            found[key] = mark
    return found


def resolve(cell: Cell, cls: type[S], tracking: dict[str, Any]) -> S:
    """Return the validated settings of a cell, with its place in W&B."""
    return load(cls, [], [], **merged(cell.settings, {"trainer": {"tracking": tracking}}))


def _pretraining_cell(plan: _Plan, levels: dict[str, Any], pretrain: Any) -> Cell:
    study = plan.study
    if not isinstance(pretrain, dict):
        raise SettingsError(
            "pretrain must hold settings of `hilum pretrain`",
            found=repr(pretrain),
            remedy="as in pretrain: {task: {name: simmim}}",
        )
    settings = _settings({"store": study.store}, study.pretrain, pretrain)
    chose = {
        name: level
        for name, level in levels.items()
        if any(map(_of_pretraining, study.level(name, level)))
    }
    return plan.cell("pretrain", chose, settings, None)


def _combinations(study: StudySettings) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*study.factors.values()):
        levels = dict(zip(study.factors, values, strict=True))
        if not any(covers(row, levels) for row in study.exclude):
            yield levels


def _of_pretraining(key: str) -> bool:
    return key.split(".")[0] == "pretrain"


def _pretraining(levels: list[dict[str, Any]]) -> Any:
    """Return what these levels set of the pretraining; nothing without a group `pretrain`.

    `pretrain.seed` and the like change a pretraining that another level asks for, and begin none:
    so a seed of the pretraining leaves the arm from scratch as it is.
    """
    asked: Any = None
    layers: list[dict[str, Any]] = []
    for level in levels:
        for key, value in level.items():
            if key == "pretrain":
                asked = value
                layers += [value] if isinstance(value, dict) else []
            elif _of_pretraining(key):
                layers.append({key.removeprefix("pretrain."): value})
    return _settings(*layers) if isinstance(asked, dict) else asked


def _settings(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return layers of settings in one, later ones winning, as `hilum finetune` reads its files."""
    return merged(*map(_nested, layers))


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted keys into groups; later keys win."""
    nested: dict[str, Any] = {}
    for key, value in spelled_out(flat, METHODS).items():
        *groups, last = key.split(".")
        here = nested
        for group in groups:
            here = here.setdefault(group, {})
            if not isinstance(here, dict):
                raise SettingsError(
                    f"{key}: {group} is no group of settings",
                    remedy="name the group itself, or another key",
                )
        here.update(merged({last: here[last]} if last in here else {}, {last: value}))
    return nested


def _identity(settings: dict[str, Any]) -> dict[str, Any]:
    """Return what makes a run what it is: no paths of this machine, no worker counts."""
    return {
        key: _identity(value) if isinstance(value, dict) else value
        for key, value in settings.items()
        if key not in _PLACES
    }


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _slug(levels: dict[str, Any]) -> str:
    text = "-".join(str(level) for level in levels.values())
    return re.sub(r"[^\w.+-]+", "_", text)[:60] or "cell"
