"""Pretrain an encoder in a run folder, and write it down so that anyone can load it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from hilum.core.checkpoints import (
    EncoderConfig,
    save_encoder,
    state_of,
)
from hilum.core.files import write_json
from hilum.core.input_scale import scale_of
from hilum.core.runs import RunFolder
from hilum.core.seen import Seen
from hilum.core.settings import read_yaml
from hilum.datasets.store.case_store import CaseStore
from hilum.datasets.store.recipe import preparation_of
from hilum.encoders.decoders.base import Decoder
from hilum.encoders.networks import NetworkConfig, save_network
from hilum.training.checkpoints import write_weights
from hilum.training.continuing import begin
from hilum.training.processes import follows
from hilum.training.threads import say_machine
from hilum.training.tracking import tracked
from hilum.training.trainer import fit

from .base import PretextTask
from .pool import same_data, start_line
from .ready import ready
from .settings import PretrainSettings

Say = Callable[[str], None]


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
    # Everything that can be wrong is found before the folder is claimed for these settings.
    found = ready(settings, out)
    module, data, report, store = found.module, found.data, found.report, found.store
    task = module.task  # the whole one, also while a sharded run has a part of it
    # The last weights, not the best: the loss of a few patches is no measure of transfer.
    probe = found.probe
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
        same_data(run, *found.cases)
        if run.checkpoint is None:
            if report is not None:
                write_json(run.path / "load_report.json", report.as_json())
                say(f"{settings.init_from}: {report.lines()[0]}")
            for note in found.notes:
                say(f"note: {note}")
        for line in begin(run, settings.trainer)[1]:
            say(line)
        say(start_line(settings, store, found.modalities, found.cases, run.path))
        say_machine(say)
        tracking = settings.trainer.tracking
        config = read_yaml(run.path / "config.yaml")
        with tracked(run.path, tracking, config, run.command) as tracker:
            summary = fit(
                module,
                data,
                run,
                settings.trainer,
                seed=settings.seed,
                callbacks=probe,
                tracker=tracker,
            )
            _save(folder, task, store, settings, found.modalities, summary, found.seen)
            if tracker is not None:
                tracker.log_folder(f"encoder-{tracking.id or run.path.name}", "model", folder)
        run.finish(summary)
    return folder


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
