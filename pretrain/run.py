"""Pretrain an encoder in a run folder, and write it down so that anyone can load it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..core.checkpoints import (
    EncoderConfig,
    load_weights,
    read_config,
    read_weights,
    save_encoder,
    state_of,
)
from ..core.errors import (
    CheckpointError,
    DataError,
    SettingsError,
    StoreError,
    UserError,
    did_you_mean,
)
from ..core.files import read_json, write_json
from ..core.modality import modality
from ..core.registry import build
from ..core.runs import RunFolder
from ..core.seeds import derive, numpy_generator
from ..datasets.augmentation import PairedAugmentation
from ..datasets.datamodule import PatchData
from ..datasets.splits import make_split
from ..datasets.store import CaseStore
from ..encoders import ENCODERS
from ..encoders.base import Encoder
from ..training.checkpoints import write_weights
from ..training.trainer import fit
from . import TASKS
from .base import PretextTask
from .module import PretrainModule
from .monitors import Monitors
from .settings import PretrainSettings


def pretrain(settings: PretrainSettings, out: str | Path) -> Path:
    """Train an encoder on the scans of every patient that does not test, without labels.

    A rerun resumes, or finds the run done and says so.

    Args:
        settings: What to learn from, how, and how long.
        out: Folder of the run.

    Returns:
        The encoder folder, `<out>/encoder`. Beside the encoder it holds `decoder.safetensors`.

    Raises:
        DataError: If no case can be used.
        SettingsError: If the settings do not fit the store or each other.
        Stopped: After a stop request, with the state saved.
    """
    with RunFolder.open(out, settings, "pretrain") as run:
        folder = run.path / "encoder"
        if run.done:
            print(f"{run.path} is done already", flush=True)
            return folder
        store = CaseStore(settings.store)
        names = _modalities(store, settings)
        training, validation = cases(store, settings, names)
        _same_data(run, store, training, validation)
        task = make_task(settings, names, run)
        augmentation = PairedAugmentation(
            names, settings.patch, store.spacing, settings.augmentation
        )
        data = PatchData(
            store,
            training,
            validation,
            patch=settings.patch,
            augmentation=augmentation,
            batch_size=settings.trainer.batch_size,
            accumulate=settings.trainer.accumulate,
            steps=settings.trainer.steps,
            seed=derive(settings.seed, "patches"),
            modalities=names,
            labelled=False,
            workers=settings.trainer.workers,
            views=task.views,
        )
        module = PretrainModule(
            task,
            augmentation,
            spacing=store.spacing,
            settings=settings.trainer,
            seed=settings.seed,
            pictures=run.path / "pictures",
            monitors=Monitors(settings.monitors, run.path / "replay")
            if settings.monitors.on
            else None,
        )
        # The last weights, not the best: the loss of a few patches is no measure of transfer.
        summary = fit(module, data, run, settings.trainer, seed=settings.seed)
        _save(folder, task, store, settings, names, summary)
        run.finish(summary)
        return folder


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


def make_task(
    settings: PretrainSettings, names: Sequence[str], run: RunFolder | None = None
) -> PretextTask:
    """Build the pretext task around a new encoder, or around one that goes on from another.

    Args:
        settings: Encoder, task, patch, seed and where to go on from.
        names: Modality of each channel.
        run: Gets `load_report.json` if an encoder is loaded.
    """
    with torch.random.fork_rng():
        torch.manual_seed(derive(settings.seed, "weights"))
        try:
            encoder = build(ENCODERS, settings.encoder, in_channels=len(names))
            encoder.check_sides(settings.patch)
            if settings.init_from is not None:  # first, so that a teacher begins as its student
                _go_on(encoder, settings.init_from, names, run)
            task = build(TASKS, settings.task, encoder=encoder, modalities=tuple(names))
        except UserError:
            raise
        except (ValueError, TypeError, KeyError) as error:
            raise SettingsError(
                "encoder and task must have parameters that fit",
                found=f"{settings.encoder}, {settings.task}: {error}",
            ) from None
    task.check_patch(settings.patch)
    if settings.trainer.batch_size < task.least_batch:
        raise SettingsError(
            f"{settings.task['name']} needs batches of at least {task.least_batch}",
            found=f"trainer.batch_size {settings.trainer.batch_size}",
            remedy="enlarge trainer.batch_size; trainer.accumulate does not help",
        )
    return task


def _go_on(encoder: Encoder, folder: Path, names: Sequence[str], run: RunFolder | None) -> None:
    config = read_config(folder)
    for name in set(names) & set(config.intensity):
        if config.intensity[name] != _scale(name):
            raise CheckpointError(
                f"{name} must be scaled as when the encoder was trained",
                file=folder,
                found=f"{_scale(name)} here, {config.intensity[name]} there",
                remedy="use the version of hilum that trained it",
            )
    report = load_weights(
        encoder,
        read_weights(folder),
        source=config.modalities,
        target=tuple(names),
        stem=encoder.stem,
    )
    if run is not None:
        write_json(run.path / "load_report.json", report.as_json())
    print(f"{folder}: {report.lines()[0]}", flush=True)


def _modalities(store: CaseStore, settings: PretrainSettings) -> tuple[str, ...]:
    names = settings.modalities or store.modalities
    for name in names:
        if name not in store.modalities:
            raise SettingsError(
                f"the store has no {name!r}{did_you_mean(name, store.modalities)}",
                file=store.path,
                remedy=f"it has {', '.join(store.modalities)}",
            )
    return names


def _scale(name: str) -> dict[str, Any]:
    """Return how a modality's values become the input of a network."""
    rule = modality(name)
    return {"unit": rule.unit, "low": rule.low, "high": rule.high, "scale": rule.scale}


def _fits(patch: Sequence[int], shape: Sequence[int]) -> bool:
    return all(side <= length for side, length in zip(patch, shape, strict=True))


def _same_data(
    run: RunFolder, store: CaseStore, training: Sequence[str], validation: Sequence[str]
) -> None:
    """Note which data the run uses; refuse to resume on others."""
    file = run.path / "data.json"
    now = {
        "fingerprint": store.fingerprint,
        "training": list(training),
        "validation": list(validation),
    }
    if file.exists() and read_json(file) != now:
        raise StoreError(
            "the store must be the one that the run began with",
            file=store.path,
            found=f"fingerprint {store.fingerprint}",
            remedy="begin a new run, or bring the old store back",
        )
    write_json(file, now)


def _save(
    folder: Path,
    task: PretextTask,
    store: CaseStore,
    settings: PretrainSettings,
    names: Sequence[str],
    summary: dict[str, Any],
) -> None:
    config = EncoderConfig.model_validate(
        {
            "architecture": settings.encoder,
            "modalities": tuple(names),
            "spacing": store.spacing,
            "intensity": {name: _scale(name) for name in names},
            "patch": settings.patch,
            "pretext": settings.task,
            "data_hash": store.fingerprint,
            "extra": {
                "steps": summary["steps"],
                "seed": settings.seed,
                "val/loss": summary.get("val/loss"),
                "init_from": None if settings.init_from is None else str(settings.init_from),
            },
        }
    )
    save_encoder(folder, task.encoder, config)
    for name, network in task.networks().items():
        if name == "teacher":
            save_encoder(folder.parent / "teacher", network, config)
        else:
            write_weights(folder / f"{name}.safetensors", state_of(network))
