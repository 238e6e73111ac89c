"""Which cases a pretraining learns from, and that they stay the same when it resumes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hilum.core.errors import DataError, SettingsError, StoreError, did_you_mean
from hilum.core.runs import RunFolder
from hilum.core.seeds import numpy_generator
from hilum.datasets.splits import make_split
from hilum.datasets.store.case_store import CaseStore

from .settings import PretrainSettings


def channels(store: CaseStore, settings: PretrainSettings) -> tuple[str, ...]:
    """Return the modality of each input channel."""
    names = settings.modalities or store.modalities
    for name in names:
        if name not in store.modalities:
            raise SettingsError(
                f"the store has no {name!r}{did_you_mean(name, store.modalities)}",
                file=store.path,
                remedy=f"it has {', '.join(store.modalities)}",
            )
    return names


def cases(
    store: CaseStore, settings: PretrainSettings, names: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the training and the validation cases; test patients are in neither.

    Cases without any of the modalities are left out. Validation patients come from the pool and do
    not train, unless `settings.validation` is 0; one patient always trains.
    """
    pool = make_split(store, settings.split).pool
    usable = [case for case in pool if set(names) & set(store.rows[case]["modalities"])]
    if not usable:
        raise DataError(
            f"the pool needs a case with {' or '.join(names)}",
            file=store.path,
            found=f"{len(pool)} cases outside of the test patients",
            remedy="lower split.test, or prepare more cases",
        )
    for name in names:
        if not any(name in store.rows[case]["modalities"] for case in usable):
            raise DataError(
                f"a case of the pool must have {name}",
                file=store.path,
                remedy="leave it out of modalities",
            )
    if not any(_fits(settings.patch, store.rows[case]["shape"]) for case in usable):
        largest = [max(store.rows[case]["shape"][axis] for case in usable) for axis in range(3)]
        raise SettingsError(
            "the patch must fit into one case at least",
            found=f"{settings.patch}, longest sides {tuple(largest)}",
            remedy="choose a smaller patch or a finer spacing",
        )
    patients = sorted({store.rows[case]["patient"] for case in usable})
    kept = min(settings.validation, len(patients) - 1)
    order = numpy_generator(settings.seed, "pretrain validation").permutation(len(patients))
    apart = {patients[i] for i in order[:kept]}
    training = tuple(case for case in usable if store.rows[case]["patient"] not in apart)
    return training, tuple(
        case for case in usable if store.rows[case]["patient"] in apart
    ) or training


def same_data(run: RunFolder, training: Sequence[str], validation: Sequence[str]) -> None:
    """Note which cases the run uses; refuse to resume on others."""
    now = {"training": list(training), "validation": list(validation)}
    if any(run.data.get(part, cases) != cases for part, cases in now.items()):
        raise StoreError(
            "the run must use the cases that it began with",
            file=run.path,
            remedy="begin a new run",
        )
    run.note_data(**now)


def _fits(patch: Sequence[int], shape: Sequence[int]) -> bool:
    return all(side <= length for side, length in zip(patch, shape, strict=True))


def start_line(
    settings: PretrainSettings,
    store: CaseStore,
    names: Sequence[str],
    chosen: tuple[Sequence[str], Sequence[str]],
    out: Path,
) -> str:
    """Return in one line who trains and validates, task, network, steps and folder."""
    train, validate = (len({store.rows[case]["patient"] for case in part}) for part in chosen)
    return (
        f"patients: {train} train, {validate} validate; task: {settings.task['name']}; "
        f"network: {settings.encoder['name']}, {'+'.join(names)}; {settings.trainer.length()}; "
        f"output: {out}"
    )
