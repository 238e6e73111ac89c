"""From a study file to cells: every run of the grid, each with its settings, hash and folder."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..core.errors import SettingsError
from ..core.files import hash_of
from ..core.runs import RUNTIME_ONLY
from ..core.settings import S, load
from .settings import StudySettings


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        stage: Which command runs it.
        levels: Level of each factor; for a pretraining cell those that chose it.
        settings: Settings as nested plain values.
        key: Hash of stage, settings and data: equal runs are one cell.
        folder: Where it runs, below the study's folder.
        needs: Folder of the pretraining cell whose encoder it starts from.
    """

    stage: Literal["pretrain", "finetune"]
    levels: dict[str, Any]
    settings: dict[str, Any]
    key: str
    folder: Path
    needs: Path | None = field(default=None)

    @property
    def name(self) -> str:
        """Levels in one readable line."""
        return " > ".join(str(level) for level in self.levels.values())


def expand(study: StudySettings, out: Path, data: str = "") -> list[Cell]:
    """Return every cell of the grid, each pretraining run once, before what needs it.

    Args:
        study: The study.
        out: Folder of the study.
        data: Fingerprint of the case store; part of each cell's identity, so that cells of a
            changed store are new cells.
    """
    pretraining: dict[str, Cell] = {}
    finetuning: dict[str, Cell] = {}
    for levels in _combinations(study):
        overrides = _overrides(study, levels)
        pretrain = overrides.pop("pretrain", None)
        tested = {"conditions": study.conditions} if study.conditions else {}
        settings = _nested({"store": study.store, **tested, **study.finetune, **overrides})
        needs = None
        if pretrain is not None:
            first = _pretraining_cell(study, levels, pretrain, out, data)
            needs = pretraining.setdefault(first.key, first).folder
            settings["init_from"] = str(needs / "encoder")
        key = hash_of([data, "finetune", _identity(settings, out)])
        folder = out / "finetune" / f"{_slug(levels)}-{key[:8]}"
        if key not in finetuning:
            finetuning[key] = Cell("finetune", levels, settings, key, folder, needs)
    return [*pretraining.values(), *finetuning.values()]


def resolve(cell: Cell, cls: type[S], tracking: dict[str, Any]) -> S:
    """Return the validated settings of a cell, with its place in W&B."""
    return load(cls, [], [], **_merge(cell.settings, {"trainer": {"tracking": tracking}}))


def _pretraining_cell(
    study: StudySettings, levels: dict[str, Any], pretrain: Any, out: Path, data: str
) -> Cell:
    if not isinstance(pretrain, dict):
        raise SettingsError("pretrain must hold settings of `hilum pretrain`", found=repr(pretrain))
    settings = _nested({"store": study.store, **study.pretrain, **pretrain})
    key = hash_of([data, "pretrain", _identity(settings, out)])
    chose = {
        name: level
        for name, level in levels.items()
        if isinstance(study.factors[name], dict) and "pretrain" in study.factors[name][level]  # pyright: ignore[reportCallIssue, reportArgumentType]
    }
    return Cell("pretrain", chose, settings, key, out / "pretrain" / f"{_slug(chose)}-{key[:8]}")


def _combinations(study: StudySettings) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*study.factors.values()):
        levels = dict(zip(study.factors, values, strict=True))
        if not any(row.items() <= levels.items() for row in study.exclude):
            yield levels


def _overrides(study: StudySettings, levels: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, level in levels.items():
        factor = study.factors[name]
        found |= factor[level] if isinstance(factor, dict) else {name: level}
    return found


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Turn dotted keys into groups; later keys win. What comes out shares nothing with the study.

    A cell that set a key of a shared group would set it for every other cell, too.
    """
    nested: dict[str, Any] = {}
    for key, value in copy.deepcopy(flat).items():
        *groups, last = key.split(".")
        here = nested
        for group in groups:
            here = here.setdefault(group, {})
            if not isinstance(here, dict):
                raise SettingsError(f"{key}: {group} is no group of settings")
        if isinstance(value, dict) and isinstance(here.get(last), dict):
            here[last] = _merge(here[last], value)
        else:
            here[last] = value
    return nested


def _merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _identity(settings: Any, out: Path) -> Any:
    """Return what makes a run what it is: no paths of this machine, no worker counts."""
    if isinstance(settings, dict):
        return {
            key: _identity(value, out)
            for key, value in settings.items()
            if key not in RUNTIME_ONLY | {"store"}
        }
    return settings.replace(str(out), "") if isinstance(settings, str) else settings


def _slug(levels: dict[str, Any]) -> str:
    text = "-".join(str(level) for level in levels.values())
    return re.sub(r"[^\w.+-]+", "_", text)[:60] or "cell"
