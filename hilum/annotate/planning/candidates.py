"""Who may be labelled next, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hilum.core.errors import DataError
from hilum.datasets.splits import make_split
from hilum.datasets.store.case_store import CaseStore

from ..embedding.table import Embeddings
from .settings import LabellingSettings


@dataclass(frozen=True)
class Candidates:
    """Patients of a store by their part in a choice; test patients are in none.

    Attributes:
        cases: All cases of each patient that may be chosen.
        known: All cases of each patient that has labels already.
        sites: Site of each patient.
        tested: Patients left out because they test.
    """

    cases: dict[str, list[str]] = field(default_factory=dict)
    known: dict[str, list[str]] = field(default_factory=dict)
    sites: dict[str, str] = field(default_factory=dict)
    tested: int = 0

    @property
    def names(self) -> list[str]:
        """Of the patients that may be chosen."""
        return list(self.cases)


def candidates_of(store: CaseStore, settings: LabellingSettings) -> Candidates:
    """Return who may be chosen.

    Raises:
        DataError: If there is nobody.
    """
    test = {store.rows[name]["patient"] for name in make_split(store, settings.split).test}
    found = Candidates(tested=len(test))
    patients: dict[str, list[str]] = {}
    for name in sorted(store.ids):
        patients.setdefault(store.rows[name]["patient"], []).append(name)
    for patient, cases in sorted(patients.items()):
        if patient in test:
            continue
        labelled = any(store.rows[name]["labelled"] for name in cases)
        found.sites[patient] = str(store.rows[cases[0]].get("site", ""))
        if labelled == (settings.among == "labelled"):
            found.cases[patient] = cases
        elif labelled:
            found.known[patient] = cases
    if not found.cases:
        raise DataError(
            f"there must be {settings.among} patients that do not test",
            file=store.path,
            found=f"{len(found.known)} labelled, {len(test)} for testing",
            remedy="add cases, or set among=labelled to try a strategy out",
        )
    return found


def vectors_of(
    embeddings: Embeddings, candidates: Candidates, folder: str | Path
) -> tuple[np.ndarray, np.ndarray]:
    """Return standardised embeddings of the candidates and of those that have labels.

    Test patients are none of these, so they set no scale here either.

    Raises:
        DataError: If one of them has no embedding.
    """
    whole = embeddings.patients()
    index = {row["patient"]: number for number, row in enumerate(whole.rows)}
    wanted = [*candidates.cases, *candidates.known]
    if lacking := [name for name in wanted if name not in index]:
        raise DataError(
            "every patient must have an embedding",
            file=folder,
            found=f"none for {', '.join(lacking[:5])}{', ...' if len(lacking) > 5 else ''}",
            remedy="embed the store again: hilum embed FOLDER STORE --out DIR",
        )
    rows: list[dict[str, Any]] = [whole.rows[index[name]] | {"split": "train"} for name in wanted]
    some = Embeddings(whole.vectors[[index[name] for name in wanted]], rows, embeddings.about)
    scaled = some.standardised()
    return scaled[: len(candidates.cases)], scaled[len(candidates.cases) :]
