"""Choose whom to label next: the Python side of `hilum annotate plan`."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from hilum.core.errors import DataError, SettingsError
from hilum.core.files import atomic_path, write_json
from hilum.core.seeds import numpy_generator
from hilum.core.settings import validate
from hilum.datasets.store.case_store import CaseStore
from hilum.datasets.store.places import Place
from hilum.segmenter.ensemble import load_predictor

from ..embedding.embed import embeddings_of
from ..embedding.settings import EmbedSettings
from ..embedding.table import Embeddings
from ..strategies import STRATEGIES
from ..strategies.base import Allowed, Pool
from .candidates import Candidates, candidates_of, vectors_of
from .choice import Choice
from .costs import Cost, Expected, expect, usual_cost
from .page import write_plan_page
from .settings import LabellingSettings

Progress = Callable[[int, int, str], None]
"""Called with how many cases are done, how many there are, and what was done last."""
COLUMNS = (
    *("rank", "patient", "cases", "site", "strategy", "reason"),
    *("expected_nodes", "expected_slices", "costs_from"),
)
BETWEEN = " | "
"""Between the names of the cases of a patient."""


def plan(
    store: Place,
    out: str | Path,
    *,
    labels: int,
    strategy: str = "typical",
    encoder: str | Path | None = None,
    segmenter: str | Path | None = None,
    settings: LabellingSettings | None = None,
    say: Callable[[str], None] = print,
    progress: Progress | None = None,
) -> list[Choice]:
    """Choose patients to label, and write `labelling.csv` with the reason and cost of each.

    Args:
        store: Case store, or several as one pool by their names.
        out: The file; next to it `<name>.json` says from what it was made, and `<name>.html` shows
            the choice on a map of the patients.
        labels: How many patients.
        strategy: See `hilum list labelling`.
        encoder: Folder of a network, or of `hilum embed`, whose embeddings count; the segmenter's
            if not given.
        segmenter: Folder of a segmenter that says what labelling will take, and where it is unsure.
        settings: Who may be chosen, and draws.
        say: Gets what was chosen.
        progress: Called after each case.

    Raises:
        DataError: If there are not as many patients, or one has no embedding.
        SettingsError: If the strategy needs a folder that is not given, or a file exists.
    """
    settings = settings or validate(LabellingSettings, {})
    path = Path(out)
    if path.suffix in (".json", ".html"):
        raise SettingsError(
            "the plan is CSV, and its record and page have its name with .json and .html",
            file=path,
            remedy=f"as in --out {path.with_suffix('.csv')}",
        )
    three = (path, path.with_suffix(".json"), path.with_suffix(".html"))
    if there := [file for file in three if file.exists()]:
        raise SettingsError(
            "the plan must be a new file",
            file=there[0],
            remedy="choose another --out: labellers may work by the one that is there",
        )
    if strategy not in STRATEGIES:
        names = ", ".join(STRATEGIES)
        raise SettingsError(f"unknown strategy {strategy!r}", remedy=f"choose from {names}")
    method = STRATEGIES[strategy]
    _check_given(method.needs, strategy, encoder, segmenter)
    held = CaseStore(store)
    found = candidates_of(held, settings)
    if labels < 1 or labels > len(found.cases):
        raise DataError(
            f"{labels} patients to label need as many that are {settings.among} and do not test",
            file=held.path,
            found=f"{len(found.cases)}",
            remedy=f"set --labels from 1 to {len(found.cases)}",
        )
    expected = _expected(segmenter, held, found, progress)
    vectors, known = None, None
    source = encoder if encoder is not None else segmenter
    if method.needs:
        assert source is not None
        embeddings = _embeddings(source, held, settings, say, progress)
        vectors, known = vectors_of(embeddings, found, source)
    doubt = np.array([_doubt(expected, own) for own in found.cases.values()]) if expected else None
    generator = numpy_generator(settings.seed, "labelling", strategy)
    pool = Pool(found.names, generator, vectors, known, doubt)
    picks = method().pick(pool, labels, _allowed(found, settings.balance_sites))
    usual = usual_cost(held, _labelled(held, found)) if not expected else None
    choices = [
        _choice(found, found.names[pick.who], pick.reason, expected, usual) for pick in picks
    ]
    write_labelling(path, choices, strategy)
    write_json(
        path.with_suffix(".json"),
        {
            "strategy": strategy,
            "labels": labels,
            "store": str(held.path),
            "fingerprint": held.fingerprint,
            "encoder": None if source is None else str(source),
            "segmenter": None if segmenter is None else str(segmenter),
            "settings": settings.model_dump(mode="json"),
            "candidates": len(found.cases),
            "labelled_already": len(found.known),
            "left_out_for_testing": found.tested,
        },
    )
    for line in rows(choices, found):
        say(line)
    page = path.with_suffix(".html")
    say(
        f"map, reasons and costs: {write_plan_page(page, choices, found, strategy, vectors, known)}"
    )
    return choices


def write_labelling(path: Path, choices: Sequence[Choice], strategy: str) -> None:
    """Write `labelling.csv`, whole or not at all."""
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for rank, one in enumerate(choices, 1):
            cost = [_number(one.cost.nodes), _number(one.cost.slices), one.cost.source]
            cases = BETWEEN.join(one.cases)
            writer.writerow([rank, one.patient, cases, one.site, strategy, one.reason, *cost])


def rows(choices: Sequence[Choice], candidates: Candidates) -> list[str]:
    """Return what was chosen as lines for a terminal."""
    head = (
        f"{len(choices)} of {len(candidates.cases)} patients to label; {len(candidates.known)} "
        f"have labels, {candidates.tested} test and are left out"
    )
    lines = [
        f"{rank:>3}  {one.patient}{f' ({one.site})' if one.site else ''}: {one.reason}; "
        f"about {_number(one.cost.nodes) or '?'} nodes on {_number(one.cost.slices) or '?'} slices"
        for rank, one in enumerate(choices, 1)
    ]
    total = [sum(one.cost.nodes for one in choices), sum(one.cost.slices for one in choices)]
    if not math.isnan(total[0]):
        lines.append(
            f"in all about {total[0]:.0f} nodes on {total[1]:.0f} slices ({choices[0].cost.source})"
        )
    return [head, *lines]


def _check_given(
    needs: str, strategy: str, encoder: str | Path | None, segmenter: str | Path | None
) -> None:
    if needs == "embeddings" and encoder is None and segmenter is None:
        raise SettingsError(
            f"the strategy {strategy} needs embeddings", remedy="give --encoder FOLDER"
        )
    if needs == "segmenter" and segmenter is None:
        raise SettingsError(
            f"the strategy {strategy} needs a segmenter", remedy="give --segmenter FOLDER"
        )


def _embeddings(
    source: str | Path,
    store: CaseStore,
    settings: LabellingSettings,
    say: Callable[[str], None],
    progress: Progress | None,
) -> Embeddings:
    """Read embeddings, or make them."""
    if (Path(source) / "embeddings.npy").is_file():
        return Embeddings.read(source)
    how = validate(EmbedSettings, {"split": settings.split.model_dump(), "nodes": False})
    return embeddings_of(source, store, how, say=say, progress=progress)


def _expected(
    segmenter: str | Path | None,
    store: CaseStore,
    candidates: Candidates,
    progress: Progress | None,
) -> dict[str, Expected]:
    """Return what a segmenter says of each case of the candidates; nothing without one."""
    if segmenter is None:
        return {}
    model = load_predictor(segmenter)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    names = [name for own in candidates.cases.values() for name in own]
    found = {}
    for number, name in enumerate(names, 1):
        found[name] = expect(model, store[name])
        if progress:
            progress(number, len(names), name)
    return found


def _doubt(expected: dict[str, Expected], cases: Sequence[str]) -> np.ndarray:
    return np.mean([expected[name].doubt for name in cases], 0)


def _allowed(candidates: Candidates, balanced: bool) -> Allowed:
    """Return what says who may be next: nobody twice, and sites in turn if they are balanced."""
    sites = [candidates.sites[name] for name in candidates.cases]

    def allowed(chosen: Sequence[int]) -> np.ndarray:
        left = np.ones(len(sites), bool)
        left[list(chosen)] = False
        if not balanced:
            return left
        taken = Counter(sites[index] for index in chosen)
        had = Counter(candidates.sites[name] for name in candidates.known)
        count = np.array([taken[site] + had[site] for site in sites])
        return left & (count == count[left].min())

    return allowed


def _labelled(store: CaseStore, candidates: Candidates) -> list[str]:
    """Return the cases whose labels may be looked at: of those that have some already."""
    every = [name for own in candidates.known.values() for name in own]
    return [name for name in every if store.rows[name]["labelled"]]


def _choice(
    candidates: Candidates,
    patient: str,
    reason: str,
    expected: dict[str, Expected],
    usual: Cost | None,
) -> Choice:
    cases = candidates.cases[patient]
    if usual is None:
        own = [expected[name] for name in cases]
        nodes, slices = sum(one.nodes for one in own), sum(one.slices for one in own)
        usual = Cost(nodes, slices, "predicted by the segmenter")
    return Choice(patient, tuple(cases), candidates.sites[patient], reason, usual)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3g}"
