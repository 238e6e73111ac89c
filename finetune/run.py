"""Fine-tune a segmenter in a run folder: the Python side of `hilum finetune`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from hilum.core.files import write_json
from hilum.core.runs import RunFolder
from hilum.core.settings import read_yaml
from hilum.datasets.splits import Split
from hilum.datasets.store.changed import changed_since
from hilum.segmenter.assessment.wandb_summary import show
from hilum.segmenter.flops import flops, training_flops
from hilum.segmenter.inference.out_of_memory import training_advice
from hilum.segmenter.inference.predict_case import steps
from hilum.segmenter.segmenter import Segmenter
from hilum.training.continuing import begin
from hilum.training.processes import follows
from hilum.training.threads import say_machine
from hilum.training.tracking import Tracker, tracked
from hilum.training.trainer import fit

from .assessing import assess_run
from .baseline import run_baseline
from .building import start_line
from .learned_from import chosen_by, note
from .module import FinetuneModule
from .no_labels import run_network
from .operating import choose_point
from .ready import data_of, ready
from .semi_supervised.pseudo_labels import labels_of_run
from .settings import FinetuneSettings
from .transfer.load import TransferReport

Say = Callable[[str], None]


def finetune(settings: FinetuneSettings, out: str | Path, *, say: Say = print) -> Path:
    """Train a segmenter from n labelled patients, and test it.

    The validation patients choose the operating point, too (`operating_point.json`, `.html`), or
    with `operating_point.by=expected` the unlabelled pool. The folder gets `split.json`,
    `load_report.json` (with `init_from`), `segmenter/` (the best weights by validation; without
    validation patients the averaged or last ones) and `test/`. A run that was stopped resumes; one
    that is done only says so.

    Args:
        settings: All of the run.
        out: Run folder.
        say: Gets a line now and then.

    Returns:
        The segmenter folder; with `baseline` the run folder, see `run_baseline`. With
        `split.labels=0` nothing is trained, see `run_network`.

    Raises:
        UserError: If settings, store, encoder folder or run folder do not fit; before any step.
        Stopped: After a signal, with the state saved.
    """
    out = Path(out)
    if settings.baseline is not None:
        return run_baseline(settings, out, say=say)
    if settings.split.labels == 0:
        return run_network(settings, out, say=say)
    # Everything that can be wrong is found before the folder is claimed for these settings.
    found = ready(settings, out)
    module, data, report = found.module, found.data, found.report
    store, split = found.patients.store, found.patients.split
    segmenter = module.segmenter
    follower = follows(settings.trainer)
    mark = store.fingerprint
    with RunFolder.open(out, settings, "finetune", data=mark, follower=follower) as run:
        folder = run.path / "segmenter"
        if run.done:
            say(f"{run.path} is done")
            return folder
        if settings.pseudo.makes_labels:
            labelled = labels_of_run(run, settings, segmenter.config, store, split)
            data = data_of(segmenter, settings, store, split, labelled)
        if run.follower:
            _fit(module, data, run, settings, split)
            return folder
        write_json(run.path / "split.json", split.as_json())
        if run.checkpoint is None:
            _say_start(run, report, found.notes, say)
        for line in begin(run, settings.trainer)[1]:
            say(line)
        say(start_line(settings, store, split, segmenter.config, run.path))
        say_machine(say)
        tracking = settings.trainer.tracking
        config = read_yaml(run.path / "config.yaml")
        with tracked(run.path, tracking, config, run.command) as tracker:
            summary = _fit(module, data, run, settings, split, tracker)
            summary["flops"] = flops(segmenter)
            summary |= _operations(segmenter, summary["patches"], say)
            choose_point(segmenter, settings, store, split, run, say)
            say(f"weights chosen by {chosen_by(summary)}")
            note(segmenter, settings, summary, store, split, found.patients.seen)
            segmenter.save(folder)
            if settings.evaluate_test and split.test:
                asked = found.patients.conditions
                results = assess_run(
                    segmenter,
                    settings,
                    store,
                    split,
                    asked,
                    run,
                    say,
                    steps=settings.trainer.steps,
                )
                summary |= show(results, run.path / "test", tracker)
            summary |= changed_since(store, say)
            if tracker is not None:
                tracker.log_folder(f"segmenter-{tracking.id or run.path.name}", "model", folder)
        run.finish(summary)
    return folder


def _say_start(
    run: RunFolder, report: TransferReport | None, notes: Sequence[str], say: Say
) -> None:
    """Write and say what a new run starts from."""
    if report is not None:
        write_json(run.path / "load_report.json", report.as_json())
    for line in [*(report.lines() if report else ()), *(f"note: {one}" for one in notes)]:
        say(line)


def _fit(
    module: FinetuneModule,
    data: pl.LightningDataModule,
    run: RunFolder,
    settings: FinetuneSettings,
    split: Split,
    tracker: Tracker | None = None,
) -> dict[str, Any]:
    trainer = settings.trainer
    step = steps(module.segmenter)
    with training_advice(settings.patch, trainer.batch_size, trainer.accumulate, step):
        return fit(
            module,
            data,
            run,
            trainer,
            monitor="val/dice" if split.validation else None,
            seed=settings.seed,
            tracker=tracker,
        )


def _operations(segmenter: Segmenter, patches: int, say: Say) -> dict[str, int]:
    """Return the operations of the training; a network that cannot be counted ends no run."""
    try:
        return {"training_flops": training_flops(segmenter) * patches}
    except RuntimeError as error:  # torch's counter, or the device has no room left
        say(f"note: operations of training were not counted: {' '.join(str(error).split())[:200]}")
        return {}
