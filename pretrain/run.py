"""Pretrain an encoder in a run folder, and write it down so that anyone can load it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from hilum.core.checkpoints import (
    EncoderConfig,
    LoadReport,
    load_weights,
    read_config,
    save_encoder,
    state_of,
)
from hilum.core.errors import CheckpointError, SettingsError, UserError
from hilum.core.files import write_json
from hilum.core.geometry import Triple
from hilum.core.input_scale import scale_of
from hilum.core.registry import build
from hilum.core.runs import RunFolder
from hilum.core.seeds import derive
from hilum.core.seen import Seen, read_seen, together
from hilum.core.settings import read_yaml
from hilum.core.weights import read_weights
from hilum.datasets.augmentation.paired import PairedAugmentation
from hilum.datasets.leakage import check_unseen, seen_in
from hilum.datasets.loading.datamodule import PatchData
from hilum.datasets.loading.settings import PatchSettings
from hilum.datasets.splits import make_split
from hilum.datasets.store.case_store import CaseStore
from hilum.datasets.store.recipe import preparation_of
from hilum.encoders import ENCODERS
from hilum.encoders.base import Encoder
from hilum.encoders.decoders.base import Decoder
from hilum.encoders.networks import NetworkConfig, save_network
from hilum.training.checkpoints import write_weights
from hilum.training.processes import follows
from hilum.training.threads import readers
from hilum.training.tracking import tracked
from hilum.training.trainer import fit

from . import TASKS
from .base import PretextTask
from .module import PretrainModule
from .monitors import Monitors
from .pool import cases, channels, same_data, start_line
from .probe import VoxelProbe, probe_cases
from .settings import PretrainSettings

Say = Callable[[str], None]
Cases = tuple[Sequence[str], Sequence[str]]


def pretrain(settings: PretrainSettings, out: str | Path, *, say: Say = print) -> Path:
    """Train an encoder on the scans of every patient that does not test, without labels.

    The folder gets `encoder/` and, if the task has a decoder, `network/`: the encoder with its
    decoder and what each output means. Both say whom they have seen. A run that was stopped
    resumes; one that is done only says so.

    Args:
        settings: What to learn from, how, and how long.
        out: Run folder.
        say: Gets a line now and then.

    Returns:
        The encoder folder.

    Raises:
        UserError: If settings, store, encoder folder or run folder do not fit; before any step.
        Stopped: After a signal, with the state saved.
    """
    out = Path(out)
    store = CaseStore(settings.store)
    # Everything that can be wrong is found before the folder is claimed for these settings.
    names = channels(store, settings)
    chosen = cases(store, settings, names)
    module, data, report = _parts(settings, store, names, chosen, out)
    seen, notes = _seen(settings, store, chosen, module.task)
    task = module.task  # the whole one, also while a sharded run has a part of it
    # The last weights, not the best: the loss of a few patches is no measure of transfer.
    probe = _probe(store, settings, names, module.augmentation)
    follower = follows(settings.trainer)
    with RunFolder.open(
        out, settings, "pretrain", data=store.fingerprint, follower=follower
    ) as run:
        folder = run.path / "encoder"
        if run.done:
            say(f"{run.path} is done")
            return folder
        if run.follower:
            fit(module, data, run, settings.trainer, seed=settings.seed, callbacks=probe)
            return folder
        same_data(run, *chosen)
        if run.checkpoint is None:
            if report is not None:
                write_json(run.path / "load_report.json", report.as_json())
                say(f"{settings.init_from}: {report.lines()[0]}")
            for note in notes:
                say(f"note: {note}")
        say(start_line(settings, store, names, chosen, run.path))
        tracking = settings.trainer.tracking
        with tracked(run.path, tracking, read_yaml(run.path / "config.yaml")) as tracker:
            summary = fit(
                module,
                data,
                run,
                settings.trainer,
                seed=settings.seed,
                callbacks=probe,
                tracker=tracker,
            )
            _save(folder, task, store, settings, names, summary, seen)
            if tracker is not None:
                tracker.log_folder(f"encoder-{tracking.id or run.path.name}", "model", folder)
        run.finish(summary)
    return folder


def parts_of(settings: PretrainSettings) -> tuple[PretrainModule, PatchData]:
    """Return the module and the patches that a run of these settings has, without a run."""
    store = CaseStore(settings.store)
    names = channels(store, settings)
    module, data, _ = _parts(settings, store, names, cases(store, settings, names), None)
    return module, data


def _seen(
    settings: PretrainSettings, store: CaseStore, chosen: Cases, task: PretextTask
) -> tuple[Seen, list[str]]:
    """Return whom the encoder will have seen, and what the user should know of that and the pool.

    Validation patients count: the loss on them is looked at to choose settings.
    """
    seen, source, notes = seen_in(store, {*chosen[0], *chosen[1]}), settings.init_from, []
    if source is not None:
        test = make_split(store, settings.split).test
        seen, notes = together(read_seen(source), seen), check_unseen(source, store, test)
    return seen, [*notes, *task.pool_notes(store, chosen[0])]


def _parts(
    settings: PretrainSettings,
    store: CaseStore,
    names: Sequence[str],
    chosen: Cases,
    place: Path | None,
) -> tuple[PretrainModule, PatchData, LoadReport | None]:
    task, report = make_task(settings, names, store.spacing)
    task.check_pool(store, chosen[0])
    augmentation = PairedAugmentation(names, settings.patch, store.spacing, settings.augmentation)
    module = PretrainModule(
        task,
        augmentation,
        spacing=store.spacing,
        settings=settings.trainer,
        seed=settings.seed,
        pictures=place and place / "pictures",
        monitors=Monitors(settings.monitors, place / "replay")
        if place and settings.monitors.on
        else None,
    )
    data = PatchData(
        store,
        *chosen,
        patches=PatchSettings(settings.patch, tuple(names), labelled=False),
        augmentation=augmentation,
        late=task.views > 1,
        batch_size=settings.trainer.batch_size,
        accumulate=settings.trainer.accumulate,
        steps=settings.trainer.steps,
        seed=derive(settings.seed, "patches"),
        workers=readers(settings.trainer),
    )
    return module, data, report


def make_task(
    settings: PretrainSettings, names: Sequence[str], spacing: Triple
) -> tuple[PretextTask, LoadReport | None]:
    """Build the pretext task around an encoder, and say what was loaded if it is not a new one.

    Args:
        settings: Encoder, task, patch, seed and where to go on from.
        names: Modality of each channel.
        spacing: mm per voxel of the store.
    """
    report = None
    with torch.random.fork_rng():
        torch.manual_seed(derive(settings.seed, "weights"))
        try:
            encoder = build(ENCODERS, settings.encoder, in_channels=len(names))
            encoder.check_sides(settings.patch)
            if settings.init_from is not None:  # first, so that a teacher begins as its student
                report = _go_on(encoder, settings.init_from, names)
            context = {"modalities": tuple(names), "spacing": spacing}
            task = build(TASKS, settings.task, encoder=encoder, **context)
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
    return task, report


def _probe(
    store: CaseStore,
    settings: PretrainSettings,
    names: Sequence[str],
    augmentation: PairedAugmentation,
) -> list[VoxelProbe]:
    """Return the probe, or nothing if there shall be none: then no label is read."""
    if not settings.probe.every:
        return []
    chosen = probe_cases(store, settings.split, names, settings.probe, settings.seed)
    return [
        VoxelProbe(
            store,
            chosen,
            augmentation,
            settings.probe,
            validate_every=settings.trainer.validate_every,
            steps=settings.trainer.steps,
            seed=derive(settings.seed, "probe"),
        )
    ]


def _go_on(encoder: Encoder, folder: Path, names: Sequence[str]) -> LoadReport:
    config = read_config(folder)
    for name in set(names) & set(config.intensity):
        if config.intensity[name] != scale_of(name):
            raise CheckpointError(
                f"{name} must be scaled as when the encoder was trained",
                file=folder,
                found=f"{scale_of(name)} here, {config.intensity[name]} there",
                remedy="pretrain on from an encoder that sees fixed windows"
                if config.intensity[name].get("scale") == "zscore"
                else "use the version of hilum that trained it",
            )
    return load_weights(
        encoder,
        read_weights(folder),
        source=config.modalities,
        target=tuple(names),
        stem=encoder.stem,
    )


def _save(
    folder: Path,
    task: PretextTask,
    store: CaseStore,
    settings: PretrainSettings,
    names: Sequence[str],
    summary: dict[str, Any],
    seen: Seen,
) -> None:
    config = EncoderConfig.model_validate(
        {
            "architecture": settings.encoder,
            "modalities": tuple(names),
            "spacing": store.spacing,
            "intensity": {name: scale_of(name) for name in names},
            "patch": settings.patch,
            "pretext": settings.task,
            "data_hash": store.fingerprint,
            "seen": seen,
            "extra": {
                "steps": summary["steps"],
                "seed": settings.seed,
                "val/loss": summary.get("val/loss"),
                "preparation": preparation_of(store),
                "init_from": None if settings.init_from is None else str(settings.init_from),
            },
        }
    )
    save_encoder(folder, task.encoder, config)
    if outputs := task.outputs():
        decoder = cast(Decoder, task.get_submodule("decoder"))
        network = NetworkConfig(encoder=config, decoder=decoder.spec, outputs=outputs)  # pyright: ignore[reportCallIssue]
        save_network(folder.parent / "network", task.encoder, decoder, network)
    for name, network in task.networks().items():
        if name == "teacher":
            save_encoder(folder.parent / "teacher", network, config)
        else:
            write_weights(folder / f"{name}.safetensors", state_of(network))
