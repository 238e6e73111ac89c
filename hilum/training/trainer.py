"""Train a Lightning module in a run folder: exact resume, clean stops, best weights, tracking."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.warnings import PossibleUserWarning  # pyright: ignore[reportPrivateImportUsage]

from hilum.core.checkpoints import load_weights
from hilum.core.conv3d_cpu_workaround import halved_small_maps
from hilum.core.precision import autocast_dtype, guard_bf16_conv3d
from hilum.core.runs import RunFolder
from hilum.core.settings import read_yaml

from .acceleration import accelerate
from .callbacks import Draws, Pace
from .checkpoints import AtomicCheckpoints, Checkpoints, best_weights
from .continuing import Continuing, begin
from .ema import AveragedWeights
from .guard import StepGuard
from .interval_means import IntervalMeans
from .jsonl_logger import JsonLines, Rows
from .processes import environment, strategy, together
from .progress import WholeRunProgress
from .settings import TrainerSettings
from .signals import StopRequest
from .step_of import step_of
from .threads import threads
from .time_limit import TimeBudget
from .tracking import Tracker, tracked

NEVER = 10**9
"""Steps between validations of a module without any."""


def fit(
    module: pl.LightningModule,
    data: pl.LightningDataModule,
    run: RunFolder,
    settings: TrainerSettings,
    *,
    monitor: str | None = None,
    mode: Literal["max", "min"] = "max",
    callbacks: Sequence[pl.Callback] = (),
    seed: int = 0,
    tracker: Tracker | None = None,
) -> dict[str, Any]:
    """Train to the end, from the run folder's checkpoint if it has one.

    A run that was stopped or killed anywhere and then resumed ends with the same bits as one that
    was not, on a CPU and with the same number of threads. For that, `data` must begin at the sample
    that its `load_state_dict` names (`datasets.loading.datamodule.PatchData` does), and the module
    may draw from torch's global generator or from generators made of the seed and
    `trainer.global_step`.

    On return the module holds the best weights by `monitor`; without one the averaged weights if
    `settings.ema` is on, else the last. Batches should hold the names of their cases in `case`.

    Args:
        module: Optimises itself; `training.optimisation.configure` helps.
        data: Training and validation batches.
        run: Open run folder; metrics, checkpoints and the `wandb` folder go there.
        settings: Length, optimisation, checkpoints, tracking.
        monitor: Logged validation metric that chooses the best weights.
        mode: Whether larger or smaller is better.
        callbacks: Further callbacks.
        seed: Seed of the run.
        tracker: An open tracker to log to, from `training.tracking.tracked`; it stays open. One is
            made from the settings if not given.

    Returns:
        `steps`, `patches`, `seconds` (of all sessions), `cpu_seconds` and `gpu_seconds` (of all
        processes), `parameters`, `stopped_early`, `ended_by`, the last
        validation's metrics, and with a monitor `best`, `best_step`, and `validations`, of which it
        is the best.

    Raises:
        Stopped: After SIGTERM, SIGUSR1 or Ctrl-C, with the state saved.
        DataError: If the loss or a gradient is not finite; names the cases and keeps the batch.
    """
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        stack.enter_context(threads(settings))
        stop = stack.enter_context(StopRequest())
        checkpoint = run.checkpoint
        own = tracker
        loggers: list[Logger] = []
        if not run.follower:
            if own is None:
                config = read_yaml(run.path / "config.yaml")
                own = stack.enter_context(tracked(run.path, settings.tracking, config, run.command))
            journal = JsonLines(run.path / "metrics.jsonl", step_of(checkpoint))
            loggers += [journal] if own is None else [journal, own]
            stack.enter_context(together(run, settings))
        keeper = Checkpoints(run, settings, monitor, mode, stop, lambda: _flush(loggers))
        average = AveragedWeights(settings.ema) if settings.ema else None
        leg, _ = begin(run, settings)
        both = [Continuing(run, settings, leg, keeper), *callbacks]
        trainer = _trainer(run, settings, seed, keeper, average, both, loggers)
        for rows in _rows(loggers):
            rows.clock = lambda: trainer.global_step
        if trainer.precision != "32-true":
            guard_bf16_conv3d(module)
        stack.enter_context(halved_small_maps(module))
        accelerate(module, settings)
        _train(trainer, module, data, checkpoint, stop)
        _choose_weights(module, run, keeper, average)
        summary = _summary(trainer, module, keeper)
        _flush(loggers)
        if own is not None:
            own.summarise(_scalars(summary, monitor))
    return summary


def _train(
    trainer: pl.Trainer,
    module: pl.LightningModule,
    data: pl.LightningDataModule,
    checkpoint: Path | None,
    stop: StopRequest,
) -> None:
    """Call Lightning, which ends the process when it sees a Ctrl-C; here that is a stop."""
    try:
        trainer.fit(
            module,
            datamodule=data,
            ckpt_path=None if checkpoint is None else str(checkpoint),
            weights_only=True,
        )
    except SystemExit:
        if not stop:
            raise
        raise stop.stopped() from None


def _trainer(
    run: RunFolder,
    settings: TrainerSettings,
    seed: int,
    keeper: Checkpoints,
    average: AveragedWeights | None,
    callbacks: Sequence[pl.Callback],
    loggers: list[Logger],
) -> pl.Trainer:
    guard, terms = StepGuard(run, settings.clip), IntervalMeans()
    progress = WholeRunProgress(
        f"{run.command} {run.path.name}",
        settings.steps,
        loss=lambda: guard.loss,
        best=lambda: "" if keeper.best is None else f"best {keeper.monitor} {keeper.best:.4f}",
        elapsed=lambda: keeper.elapsed,
        validate_every=settings.validate_every,
    )
    ordered = [
        # First, so that no other callback counts as waiting.
        Pace(settings, guard, run, terms),
        terms,
        Draws(seed, settings.accumulate),
        guard,
        *([TimeBudget(settings, keeper, _first(callbacks))] if settings.minutes else []),
        *callbacks,
        keeper,  # in front of the average, so that the best weights are averaged ones
        *([average] if average else []),
        progress,
    ]
    accelerator = "gpu" if torch.cuda.is_available() else "cpu"
    return pl.Trainer(
        accelerator=accelerator,
        devices=settings.devices,
        num_nodes=settings.nodes,
        strategy=strategy(settings),
        precision=_precision(settings, "cuda" if accelerator == "gpu" else "cpu"),
        max_steps=settings.steps,
        max_epochs=-1,
        accumulate_grad_batches=settings.accumulate,
        val_check_interval=settings.validate_every * settings.accumulate,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=settings.log_every,
        logger=loggers,
        callbacks=ordered,
        plugins=[AtomicCheckpoints(), environment(settings)],
        default_root_dir=run.path,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def _first(callbacks: Sequence[pl.Callback]) -> int:
    """Return the step at which the run went on with other settings, 0 if it did not."""
    return next((one.first or 0 for one in callbacks if isinstance(one, Continuing)), 0)


def _precision(settings: TrainerSettings, device: str) -> Literal["32-true", "bf16-mixed"]:
    if settings.precision == "auto":
        return "32-true" if autocast_dtype(device) is None else "bf16-mixed"
    return "bf16-mixed" if settings.precision == "bf16" else "32-true"


def _choose_weights(
    module: pl.LightningModule,
    run: RunFolder,
    keeper: Checkpoints,
    average: AveragedWeights | None,
) -> None:
    """Leave in the module what the run should hand over."""
    if keeper.best is not None:
        load_weights(module, best_weights(run, keeper.best_hash), threshold=1.0)
    elif average is not None and average.average:
        average.put(module)


def _summary(
    trainer: pl.Trainer, module: pl.LightningModule, keeper: Checkpoints
) -> dict[str, Any]:
    settings = keeper.settings
    per_step = settings.batch_size * settings.accumulate * settings.processes
    on_gpu = trainer.strategy.root_device.type == "cuda"
    summary: dict[str, Any] = {
        "steps": trainer.global_step,
        "patches": trainer.global_step * per_step,
        "seconds": round(keeper.elapsed, 3),
        # Of this process; the others of the run work as much.
        "cpu_seconds": round(keeper.worked * settings.processes, 3),
        "gpu_seconds": round(keeper.elapsed * settings.processes, 3) if on_gpu else 0.0,
        "parameters": sum(p.numel() for p in module.parameters()),
        "stopped_early": keeper.stopped_early,
        "ended_by": _end(trainer, keeper),
        **{key: float(value) for key, value in keeper.validation.items()},
    }
    if keeper.monitor is not None:
        summary |= {"best": keeper.best, "best_step": keeper.best_step}
        summary |= {"validations": keeper.validations}
    return summary


def _end(trainer: pl.Trainer, keeper: Checkpoints) -> Literal["steps", "minutes", "patience"]:
    if trainer.global_step >= keeper.settings.steps:
        return "steps"
    return "patience" if keeper.stopped_early else "minutes"


def _scalars(summary: dict[str, Any], monitor: str | None) -> dict[str, Any]:
    """Return the summary under W&B's names: `best/val_dice` instead of `best`."""
    named = dict(summary)
    if monitor is not None:
        named[f"best/{monitor.replace('/', '_')}"] = named.pop("best")
        named["best/step"] = named.pop("best_step")
    return named


def _rows(loggers: Sequence[Logger]) -> list[Rows]:
    return [logger.rows for logger in loggers if isinstance(logger, JsonLines | Tracker)]


def _flush(loggers: Sequence[Logger]) -> None:
    for rows in _rows(loggers):
        rows.flush()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's advertising and its advice on what is done on purpose."""
    names = ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero", "lightning_fabric")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)
            warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)  # Lightning 2.6
            # A run that was killed between its end and `DONE` has no batch left, and needs none.
            warnings.filterwarnings("ignore", "Total length of .* is zero")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
