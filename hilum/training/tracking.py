"""W&B through Lightning's logger: offline by default, and unable to stop or to slow a training.

A thread talks to W&B. The training only puts rows into its queue, so that a server that is slow,
absent or refuses the key costs no step of it.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import DummyExperiment  # pyright: ignore[reportPrivateImportUsage]
from pytorch_lightning.utilities import rank_zero_only

from hilum.core.compat import leave_wandb_behind, silence_anonymous, taken_run

from .background_sender import Sender
from .jsonl_logger import Rows
from .provenance import provenance
from .settings import TrackingSettings
from .tracking_mode import identity_of, mode_of
from .wandb_offline_reader import ended

LOG = logging.getLogger("hilum.training")

LONGEST_TAG = 64
"""Characters that W&B takes; one more, and it refuses the whole run."""

CLOSE_S = 60.0
"""Seconds that the end of a run waits for W&B; the files stay, to be sent later."""

Picture = Path | np.ndarray
"""A PNG file, or uint8 `[height, width]` or `[height, width, 3]`."""


class Tracker(WandbLogger):
    """Lightning's W&B logger that warns once and then is silent, instead of ending a run.

    Args:
        folder: Where W&B writes its `wandb` folder.
        settings: Mode, project, group and so on.
        config: Resolved settings to show.
        identity: Identity of the run.

    Attributes:
        broken: Whether W&B has failed; nothing is sent any more.
        online: Whether what is logged goes to a server.
    """

    def __init__(
        self, folder: Path, settings: TrackingSettings, config: Mapping[str, Any], identity: str
    ) -> None:
        self.broken, self.ended = False, False
        self._folder, self._step = folder, None
        self.rows = Rows(self._send)
        self._files: Path | None = None
        self._sender = Sender(f"W&B {identity}")
        mode = mode_of(settings.mode)
        self.online = mode == "online"
        super().__init__(
            name=settings.name,
            save_dir=folder,
            id=identity,
            project=settings.project,
            mode=mode,
            group=settings.group,
            job_type=settings.job_type,
            tags=tags(settings.tags),
            config={**config, **_factors(settings), "provenance": provenance(config)},
            settings=_quiet(),
        )
        silence_anonymous(self)
        self._later(lambda run: None)  # begin now: the first row must not wait for it

    @property
    def experiment(self) -> Any:
        """The W&B run in the thread that talks to it; elsewhere what swallows every call."""
        return super().experiment if self._sender.here() else DummyExperiment()

    def log_hyperparams(self, params: argparse.Namespace | dict[str, Any]) -> None:
        """The settings were given at the start."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Gather numbers or pictures."""
        self.rows.add(metrics, step)

    @rank_zero_only
    def summarise(self, values: Mapping[str, Any]) -> None:
        """Write explicit scalars into the summary, such as `best/val_dice`."""
        given = dict(values)
        self._later(lambda run: run.summary.update(given))

    @rank_zero_only
    def log_now(self, values: Mapping[str, Any]) -> None:
        """Log media outside of training."""
        given, step = dict(values), self._step
        self._later(lambda run: run.log(given, step=step))

    @rank_zero_only
    def log_rows(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Log a table."""
        import wandb

        with self.guarded():
            table = wandb.Table(columns=list(columns), data=[list(row) for row in rows])
            self.log_now({name: table})

    @rank_zero_only
    def log_folder(self, name: str, kind: str, folder: Path) -> None:
        """Log a folder as an artifact, where there is a server that keeps it."""
        if self.online:
            self._later(lambda run: run.log_artifact(str(folder), name=name, type=kind))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Send the last row."""
        self.rows.flush()

    @rank_zero_only
    def close(self, exit_code: int = 0) -> None:
        """Send what is left, end the W&B run, and wait for it, but not for long."""
        if self.ended:
            return
        self.ended = True
        self.rows.flush()
        self._sender.put(lambda: self._finish(exit_code))
        if not self._sender.end(CLOSE_S):
            leave_wandb_behind()
            later = f"; later: {self.sync}" if self.sync else ""
            self._warn(f"it is not done after {CLOSE_S:.0f} s{later}")

    @property
    def sync(self) -> str:
        """The command that sends what every session logged; empty if nothing was written."""
        if self._files is None:
            return ""
        # Named by their time, and numbered within a second.
        sessions = sorted((self._folder / "wandb").glob(f"offline-run-*-{self.version}*"))
        return shlex.join(["wandb", "sync", *map(str, sessions or [self._files])])

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn the first error of W&B into a warning and leave it alone from then on."""
        try:
            yield
        except Exception as error:  # whatever a logger does, the training goes on
            self._warn(" ".join(str(error).split()))

    def _warn(self, text: str) -> None:
        if not self.broken:
            LOG.warning("W&B failed and is off for this run: %s", text)
        self.broken = True

    def _later(self, job: Callable[[Any], object]) -> None:
        """Let the thread do something with the run, unless W&B is broken."""

        def work() -> None:
            if not self.broken:
                with self.guarded():
                    run = self.experiment
                    self._files = _files_of(run)
                    job(run)

        if not self.broken and not self._sender.put(work):
            self._warn("it is too far behind")

    def _finish(self, exit_code: int) -> None:
        run = taken_run(self)
        if run is None:
            return
        if self.broken:
            # Left open, it would be taken for the run of the next cell in this process.
            with suppress(Exception):
                run.finish(exit_code=1)
            return
        with self.guarded():
            settings = getattr(run, "settings", None)
            run.finish(exit_code=exit_code)
            if settings is not None and settings.mode == "offline":
                _wait(Path(settings.sync_file))

    def _send(self, step: int, row: Mapping[str, Any]) -> None:
        # Named, so that a resumed run's rows follow those of the sessions before.
        self._step = step
        given = {**row, "trainer/global_step": step}
        self._later(lambda run: run.log(given, step=step))


@contextmanager
def tracked(
    folder: Path, settings: TrackingSettings, config: Mapping[str, Any], job_type: str = ""
) -> Iterator[Tracker | None]:
    """Give a tracker that is closed at the end, with the exit code of the block; `None` if off.

    A run has the name of its folder, and its group is the folder around it, unless the settings
    say otherwise.

    Args:
        folder: Where the `wandb` folder goes.
        settings: Mode, project, group and so on.
        config: Resolved settings to show.
        job_type: What the run does, if the settings do not say.
    """
    if mode_of(settings.mode) == "disabled":
        yield None
        return
    place = folder.resolve()
    given = {"name": place.name, "group": place.parent.name, "job_type": job_type}
    missing = {key: text for key, text in given.items() if text and not getattr(settings, key)}
    settings = settings.model_copy(update=missing)
    tracker = Tracker(folder, settings, config, settings.id or identity_of(folder))
    try:
        yield tracker
    except BaseException:
        tracker.close(exit_code=1)
        raise
    tracker.close()
    in_study = settings.id is not None or settings.job_type == "ablate"
    if tracker.sync and not (tracker.online or in_study):
        print(f"to see it on W&B: {tracker.sync}", flush=True)  # a study tells it once for all


def log_pictures(trainer: pl.Trainer, key: str, *pictures: Picture) -> None:
    """Show pictures on W&B in the row of the present step."""
    for logger in trainer.loggers:
        if isinstance(logger, Tracker) and not logger.broken:
            with logger.guarded():
                logger.rows.add({key: [image(picture) for picture in pictures]}, None)


def tags(given: Sequence[str]) -> list[str]:
    """Return tags as W&B takes them: none twice, none empty, none too long.

    Examples:
        >>> tags(["seed:0", "", "seed:0", "x" * 70])[1][-5:]
        'xx...'
    """
    short = (t if len(t) <= LONGEST_TAG else f"{t[: LONGEST_TAG - 3]}..." for t in given if t)
    return list(dict.fromkeys(short))


def _factors(settings: TrackingSettings) -> dict[str, Any]:
    return {"factors": dict(settings.factors)} if settings.factors else {}


def _files_of(run: Any) -> Path | None:
    """Return the folder that a run writes on this machine."""
    folder = getattr(run, "dir", None)
    return Path(folder).parent if isinstance(folder, str) else None


def _wait(file: Path, seconds: float = 20.0) -> None:
    """Wait until an offline run is on disk: on a busy machine `finish` returns before that."""
    until = time.monotonic() + seconds
    while not ended(file):
        if time.monotonic() > until:
            LOG.warning("W&B has not finished %s after %.0f s", file, seconds)
            return
        time.sleep(0.05)


def _quiet() -> Any:
    import wandb

    # A run of its own, even if an earlier one of this process was left behind.
    return wandb.Settings(console="off", silent=True, reinit="create_new")


def image(picture: Picture) -> Any:
    """Return a picture as W&B takes it."""
    import wandb

    return wandb.Image(str(picture) if isinstance(picture, Path) else picture)
