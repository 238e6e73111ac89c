"""Which patients train, validate and test; and which of them may be seen without their labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from hilum.core.errors import DataError, SettingsError, did_you_mean
from hilum.core.seeds import numpy_generator
from hilum.core.settings import Settings

from .labelling import chosen_patients
from .split import Split as Split
from .split import check_leakage as check_leakage
from .split import counted as counted
from .split import left_out_line as left_out_line
from .store.case_store import CaseStore


class SplitSettings(Settings):
    """Patients of each part; cases of one patient always stay together."""

    test: float | Literal["manifest", "fold", "site"] = Field(
        "manifest",
        description="patients kept for testing: a fraction of all, 0 to 1; manifest: by its column "
        "split; fold: one of `folds` (balanced over sites); site: all of `site`",
    )
    folds: int = Field(5, ge=2, description="number of folds, for test=fold")
    fold: int = Field(0, ge=0, description="which fold tests, for test=fold")
    site: str | None = Field(None, description="which site tests, for test=site")
    validation: int = Field(0, ge=0, description="labelled patients kept for choosing checkpoints")
    labels: int | None = Field(
        None,
        ge=0,
        description="labelled patients to train with; 0: none, the network of init_from is tested "
        "as it is; empty: all that are left",
    )
    draw: int = Field(0, ge=0, description="which draw of labelled patients")
    balance_sites: bool = Field(
        False, description="draw labelled patients from the sites by rotation"
    )
    choose: Path | None = Field(
        None,
        description="labelling.csv of `hilum annotate plan`: its patients train, in its order, the "
        "first `labels` of them; `draw` and `balance_sites` do not matter then",
    )
    leave_out: tuple[str, ...] = Field(
        (),
        description="cases to use for nothing, as if the store did not hold them; they are noted "
        "in split.json",
    )
    seed: int = Field(0, ge=0, description="seed of the split; keep it fixed over a study")

    @field_validator("test")
    @classmethod
    def _is_fraction(cls, test: float | str) -> float | str:
        if isinstance(test, float) and not 0 <= test <= 1:
            raise ValueError("a number must be a fraction of the patients, 0 to 1, as in 0.2")
        return test


def make_split(store: CaseStore, settings: SplitSettings) -> Split:
    """Divide the patients of a store.

    The labelled subsets of one draw are nested: the patients of `labels=2` are among those of
    `labels=5`; one of them has nodes if any patient left has, and one of those who validate if
    another has. Test patients are in no other part, without exception; validation patients do not
    train, and are in the pool, where labels are not read. The order of the manifest's rows does
    not matter.

    Raises:
        DataError: If there are too few patients for what is asked.
    """
    patients: dict[str, list[str]] = defaultdict(list)
    left_out = _left_out(store, settings)
    for name, row in sorted(store.rows.items(), key=lambda item: (item[1]["patient"], item[0])):
        if name not in left_out:
            patients[row["patient"]].append(name)
    test = _test_patients(store, patients, settings)
    rest = [patient for patient in patients if patient not in test]
    labelled = [p for p in rest if any(store.rows[c]["labelled"] for c in patients[p])]
    chosen = (
        []
        if settings.choose is None
        else chosen_patients(settings.choose, patients, labelled, test)
    )
    free = [patient for patient in labelled if patient not in chosen]
    order = numpy_generator(settings.seed, "validation").permutation(len(free))
    asked = _those_who_choose(store, patients, [free[i] for i in order], bool(chosen))
    validation = set(asked[: settings.validation])
    left = chosen or [patient for patient in labelled if patient not in validation]
    wanted = len(left) if settings.labels is None else settings.labels
    if wanted > len(left) or len(validation) < settings.validation:
        raise DataError(
            f"{wanted} training and {settings.validation} validation patients need labels",
            found=f"{len(labelled)} labelled patients beside {len(test)} for testing",
            remedy="lower split.labels or split.validation",
        )
    ordered = chosen or _drawn(store, patients, left, settings)
    train = set(ordered[:wanted])

    def cases(chosen: set[str], labels: bool) -> tuple[str, ...]:
        names = [name for patient in patients if patient in chosen for name in patients[patient]]
        return tuple(name for name in names if not labels or store.rows[name]["labelled"])

    split = Split(
        cases(set(rest), False),
        cases(train, True),
        cases(validation, True),
        cases(test, True),
        left_out,
    )
    check_leakage(store, split)
    return split


def _left_out(store: CaseStore, settings: SplitSettings) -> tuple[str, ...]:
    """Return the cases to leave out, each once.

    Raises:
        SettingsError: If the store has no such case, or nothing would be left.
    """
    names = tuple(dict.fromkeys(settings.leave_out))
    for name in names:
        if name not in store.rows:
            raise SettingsError(
                "split.leave_out must name cases of the store",
                found=f"{name!r}{did_you_mean(name, store.rows)}",
                remedy=f"as in {next(iter(store.rows), 'case_1')}",
            )
    if names and len(names) == len(store.rows):
        raise SettingsError(
            "split.leave_out must leave some case",
            found=f"all {len(names)}",
            remedy="name fewer cases",
        )
    return names


def _drawn(
    store: CaseStore,
    patients: dict[str, list[str]],
    left: Sequence[str],
    settings: SplitSettings,
) -> list[str]:
    """Return labelled patients in the order of a draw."""
    drawn = numpy_generator(settings.seed, "labels", settings.draw).permutation(len(left))
    ordered = [left[int(i)] for i in drawn]
    if settings.balance_sites:
        ordered = _in_turn(ordered, _sites(store, patients))
    # A draw of patients without any node would teach nothing: the first one drawn has some.
    first = _with_nodes(store, patients, ordered)[:1]
    return [*first, *(p for p in ordered if p not in first)]


def _those_who_choose(
    store: CaseStore, patients: dict[str, list[str]], drawn: Sequence[str], trained: bool
) -> list[str]:
    """Return patients in the order in which they validate: the first one has nodes.

    A patient without any has a Dice of 0 or 1, and chooses the network that marks least. One with
    nodes is left for training, unless that has its patients already.
    """
    having = _with_nodes(store, patients, drawn)
    last = [] if trained else having[-1:]
    first = [p for p in having if p not in last][:1]
    return [*first, *(p for p in drawn if p not in (*first, *last)), *last]


def _with_nodes(
    store: CaseStore, patients: dict[str, list[str]], names: Sequence[str]
) -> list[str]:
    """Return the patients who have nodes, in their order."""
    return [p for p in names if any(store.rows[case].get("nodes") for case in patients[p])]


def as_nnunet(store: CaseStore, settings: SplitSettings) -> list[dict[str, list[str]]]:
    """Return the folds as nnU-Net's `splits_final.json` wants them: labelled cases of each fold.

    Args:
        store: Where the patients are.
        settings: With `test=fold`; `fold` does not matter.
    """
    if settings.test != "fold":
        raise SettingsError(
            "folds need split.test=fold", found=settings.test, remedy="set split.test=fold"
        )
    found = []
    for fold in range(settings.folds):
        split = make_split(store, settings.model_copy(update={"fold": fold}))
        found.append({"train": sorted(split.train), "val": sorted(split.test)})
    return found


def _test_patients(
    store: CaseStore, patients: dict[str, list[str]], settings: SplitSettings
) -> set[str]:
    if settings.test == "manifest":
        return _by_manifest(store, patients)
    if settings.test == "site":
        return _of_site(store, patients, settings)
    if settings.test == "fold":
        return _of_fold(store, patients, settings)
    names = list(patients)
    count = round(settings.test * len(names))
    order = numpy_generator(settings.seed, "test").permutation(len(names))
    return {names[i] for i in order[:count]}


def _by_manifest(store: CaseStore, patients: dict[str, list[str]]) -> set[str]:
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


def _of_site(store: CaseStore, patients: dict[str, list[str]], settings: SplitSettings) -> set[str]:
    """Return every patient with a case from the site: none of them may train, wherever else."""
    sites = sorted({str(row.get("site", "")) for row in store.rows.values()})
    if settings.site is None or settings.site not in sites:
        raise SettingsError(
            "test=site needs split.site to be a site of the store",
            found=settings.site,
            remedy=f"choose from {', '.join(site or '(empty)' for site in sites[:20])}",
        )
    chosen = {
        patient
        for patient, names in patients.items()
        if any(str(store.rows[n].get("site", "")) == settings.site for n in names)
    }
    if len(chosen) == len(patients):
        raise DataError(
            "leaving a site out needs patients from another one",
            found=f"all {len(patients)} are of {settings.site!r}",
            remedy="choose another way to test, such as split.test=0.2",
        )
    return chosen


def _of_fold(store: CaseStore, patients: dict[str, list[str]], settings: SplitSettings) -> set[str]:
    """Deal the labelled patients of one site after the other to the folds.

    So folds differ by at most one patient in all, and by at most one of any site. Patients without
    a label test nothing: they stay in every pool.
    """
    if settings.fold >= settings.folds:
        raise SettingsError(
            f"split.fold must be below {settings.folds}, the number of folds",
            found=settings.fold,
            remedy="count folds from 0",
        )
    labelled = [p for p in patients if any(store.rows[c]["labelled"] for c in patients[p])]
    if len(labelled) < settings.folds:
        raise DataError(
            f"{settings.folds} folds need as many labelled patients",
            found=len(labelled),
            remedy="lower split.folds",
        )
    sites = _sites(store, patients)
    order = numpy_generator(settings.seed, "folds").permutation(len(labelled))
    dealt = sorted((labelled[i] for i in order), key=lambda patient: sites[patient])
    return set(dealt[settings.fold :: settings.folds])


def _sites(store: CaseStore, patients: dict[str, list[str]]) -> dict[str, str]:
    """Return the site of each patient, that of the first case."""
    return {p: str(store.rows[names[0]].get("site", "")) for p, names in patients.items()}


def _in_turn(patients: Sequence[str], sites: dict[str, str]) -> list[str]:
    """Return patients so that each site comes once before any comes again, else in order."""
    seen: dict[str, int] = defaultdict(int)
    rank = {}
    for place, patient in enumerate(patients):
        rank[patient] = (seen[sites[patient]], place)
        seen[sites[patient]] += 1
    return sorted(patients, key=rank.__getitem__)
