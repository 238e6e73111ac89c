"""What is wrong with any cell, found as its own run would find it, before the first one runs.

Each distinct network is built once and each distinct split drawn once, so thousands of cells take
seconds. What a cell starts from may not exist yet: then its encoder is taken from the settings of
the pretraining cell, and whom that will see is asked instead of the folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hilum.core.errors import SettingsError, UserError
from hilum.core.settings import validate
from hilum.core.unused import Idle
from hilum.datasets.leakage import refuse_seen
from hilum.datasets.splits import Split
from hilum.datasets.store.case_store import CaseStore
from hilum.datasets.store.places import Place
from hilum.finetune import ready as finetuning
from hilum.finetune.settings import FinetuneSettings
from hilum.finetune.unused import unused_of
from hilum.pretrain import ready as pretraining
from hilum.pretrain.settings import PretrainSettings
from hilum.segmenter.proposals import check_segments

from .cells import Cell

ANY_NETWORK = ("seed", "split", "conditions", "evaluate_test", "pictures")
"""Settings of a fine-tuning cell that its network does not depend on."""
PATIENTS = (
    *("store", "weights", "split", "conditions"),
    *("init_from", "modalities", "pseudo", "transfer", "teacher", "synthetic", "operating_point"),
)
"""Those that decide who takes part, and who must not."""


def check_settings(cells: Iterable[Cell]) -> None:
    """Raise an error that names the cell unless the settings of each are valid in themselves."""
    for cell in cells:
        with _named(cell):
            validate(
                PretrainSettings if cell.stage == "pretrain" else FinetuneSettings, cell.settings
            )


@dataclass(frozen=True)
class _Known:
    """What is known of the cells so far.

    Attributes:
        splits: Who takes part, by the settings that decide it.
        networks: Modalities that a network sees, by the settings that it is built from.
        idle: What does nothing, by the settings that decide it.
    """

    splits: dict[str, Split] = field(default_factory=dict)
    networks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    idle: dict[str, list[Idle]] = field(default_factory=dict)


def check(cells: Sequence[Cell]) -> list[tuple[Cell, list[Idle]]]:
    """Do for every cell what its run does before its first step, and write nothing.

    Args:
        cells: What is not done yet; pretraining cells stand in front of what needs them.

    Returns:
        What does nothing in each cell.

    Raises:
        UserError: What the run would raise, with the cell's levels in front.
    """
    check_settings(cells)
    idle: list[tuple[Cell, list[Idle]]] = []
    opened: dict[str, CaseStore] = {}

    def stores(place: Place) -> CaseStore:
        mark = json.dumps(place, default=str)
        if mark not in opened:
            opened[mark] = CaseStore(place)
        return opened[mark]

    firsts: dict[Path, pretraining.Ready] = {}
    made: dict[str, pretraining.Ready] = {}
    known = _Known()
    for cell in cells:
        with _named(cell):
            if cell.stage == "pretrain":
                mark = _mark(cell.settings, without=("seed",))
                if mark not in made:
                    settings = validate(PretrainSettings, cell.settings)
                    made[mark] = pretraining.ready(settings, store=stores(settings.store))
                firsts[cell.folder] = made[mark]
                notes = pretraining.unused_in(made[mark].settings)
            else:
                notes = _check_finetuning(cell, firsts.get(cell.needs or Path()), stores, known)
        idle.append((cell, notes))
    return idle


def _check_finetuning(
    cell: Cell, first: pretraining.Ready | None, stores: Any, known: _Known
) -> list[Idle]:
    """Check one cell, and return what is set there and does nothing."""
    values = cell.settings
    if first is not None and not Path(values["init_from"]).exists():
        values = _without_start(values, first)
    who = {key: values.get(key) for key in PATIENTS} | {"first": id(first)}
    people, network = _mark(who), _mark(values, without=ANY_NETWORK)
    store = stores(values["store"])
    if people not in known.splits or network not in known.networks:
        planned = values is not cell.settings
        settings = validate(FinetuneSettings, values)
        if settings.split.labels == 0 and first is not None and planned:
            patients = finetuning.patients_of(settings, store)
            split, sees = patients.split, patients.modalities
            check_segments(first.module.task.outputs(), cell.settings["init_from"])
        elif settings.baseline is None and network in known.networks:
            split = finetuning.patients_of(settings, store).split
            sees = known.networks[network]
        else:
            found = finetuning.check(settings, store)
            split, sees = found.split, found.sees
        if first is not None:
            refuse_seen(first.seen, "the pretraining of this cell", store, split.test)
        known.splits[people], known.networks[network] = split, sees
    split = known.splits[people]
    # Repetitions differ in numbers and places that change nothing of what is used.
    given = {key: bool(cell.settings.get(key)) for key in ("seed", "init_from")}
    own = cell.settings.get("split", {})
    own = {**own, "draw": bool(own.get("draw"))}
    same = _mark({**cell.settings, **given, "split": own})
    if same not in known.idle:
        whole = validate(FinetuneSettings, cell.settings)
        known.idle[same] = unused_of(whole, store, split, known.networks[network])
    return known.idle[same]


def _without_start(values: Mapping[str, Any], first: pretraining.Ready) -> dict[str, Any]:
    """Return settings that build the same network without the weights that are not there yet."""
    rest = {key: value for key, value in values.items() if key not in ("init_from", "transfer")}
    return {"encoder": first.settings.encoder} | rest


def _mark(values: Mapping[str, Any], without: Sequence[str] = ()) -> str:
    kept = {key: value for key, value in values.items() if key not in without}
    return json.dumps(kept, sort_keys=True, default=str)


@contextmanager
def _named(cell: Cell) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise SettingsError(f"{cell.name}: {error}") from None
