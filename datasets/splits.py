"""Which patients train, validate and test; and which of them may be seen without their labels."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import Field

from ..core.errors import DataError
from ..core.seeds import numpy_generator
from ..core.settings import Settings
from .store import CaseStore


class SplitSettings(Settings):
    """Patients of each part; cases of one patient always stay together."""

    test: float | Literal["manifest"] = Field(
        "manifest", description="share of patients kept for testing, or as the manifest says"
    )
    validation: int = Field(0, ge=0, description="labelled patients kept for choosing checkpoints")
    labels: int | None = Field(
        None, ge=1, description="labelled patients to train with; empty: all that are left"
    )
    draw: int = Field(0, ge=0, description="which draw of labelled patients")
    seed: int = Field(0, ge=0, description="seed of the split; keep it fixed over a study")


@dataclass(frozen=True)
class Split:
    """Names of cases. `pool` is every case that may be seen without its label."""

    pool: tuple[str, ...]
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def as_json(self) -> dict[str, list[str]]:
        """Return plain lists."""
        return {name: list(cases) for name, cases in asdict(self).items()}

    @staticmethod
    def from_json(value: dict[str, Any]) -> Split:
        """Read what `as_json` wrote."""
        return Split(**{name: tuple(cases) for name, cases in value.items()})


def make_split(store: CaseStore, settings: SplitSettings) -> Split:
    """Divide the patients of a store.

    The labelled subsets of one draw are nested: the patients of `labels=2` are among those of
    `labels=5`. Test patients are in no other part, without exception; validation patients do not
    train, and are in the pool, where labels are not read.

    Raises:
        DataError: If there are too few patients for what is asked.
    """
    patients: dict[str, list[str]] = defaultdict(list)
    for name, row in store.rows.items():
        patients[row["patient"]].append(name)
    test = _test_patients(store, patients, settings)
    rest = [patient for patient in patients if patient not in test]
    labelled = [p for p in rest if any(store.rows[c]["labelled"] for c in patients[p])]
    order = numpy_generator(settings.seed, "validation").permutation(len(labelled))
    validation = {labelled[i] for i in order[: settings.validation]}
    left = [patient for patient in labelled if patient not in validation]
    wanted = len(left) if settings.labels is None else settings.labels
    if wanted > len(left) or len(validation) < settings.validation:
        raise DataError(
            f"{wanted} training and {settings.validation} validation patients need labels",
            found=f"{len(labelled)} labelled patients beside {len(test)} for testing",
            remedy="lower split.labels or split.validation",
        )
    drawn = numpy_generator(settings.seed, "labels", settings.draw).permutation(len(left))
    train = {left[i] for i in drawn[:wanted]}

    def cases(chosen: set[str], labels: bool) -> tuple[str, ...]:
        names = [name for patient in patients if patient in chosen for name in patients[patient]]
        return tuple(name for name in names if not labels or store.rows[name]["labelled"])

    split = Split(
        cases(set(rest), False), cases(train, True), cases(validation, True), cases(test, True)
    )
    check_leakage(store, split)
    return split


def check_leakage(store: CaseStore, split: Split) -> None:
    """Raise an error if a test patient is in any other part, or a training patient validates."""
    patients = {
        name: {store.rows[case]["patient"] for case in cases}
        for name, cases in split.as_json().items()
    }
    for one, other in (
        ("test", "pool"),
        ("test", "train"),
        ("test", "validation"),
        ("validation", "train"),
    ):
        both = patients[one] & patients[other]
        if both:
            raise DataError(
                f"no patient may be in {one} and {other}",
                found=", ".join(sorted(both)[:3]),
                remedy="mend the split",
            )


def _test_patients(
    store: CaseStore, patients: dict[str, list[str]], settings: SplitSettings
) -> set[str]:
    if settings.test == "manifest":
        chosen = {
            patient
            for patient, names in patients.items()
            if any(store.rows[name]["split"] == "test" for name in names)
        }
        mixed = [p for p in chosen if any(store.rows[n]["split"] == "train" for n in patients[p])]
        if mixed:
            raise DataError(
                "a patient may not be in train and test",
                found=", ".join(sorted(mixed)[:3]),
                remedy="mend the column split of the manifest",
            )
        return chosen
    names = sorted(patients)
    count = round(settings.test * len(names))
    order = numpy_generator(settings.seed, "test").permutation(len(names))
    return {names[i] for i in order[:count]}
