"""W&B through Lightning's logger: offline by default, and never able to stop a training."""

from __future__ import annotations

import argparse
import logging
import netrc
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
from lightning_fabric.loggers.logger import _DummyExperiment
from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning.loggers import WandbLogger

from ..core.files import read_json, write_json
from ..core.settings import validate
from .journal import Rows
from .run_log import ended
from .settings import TrackingSettings

LOG = logging.getLogger("hilum.training")
Picture = Path | np.ndarray
"""A PNG file, or uint8 `[height, width]` or `[height, width, 3]`."""


class Tracker(WandbLogger):
    """Lightning's W&B logger that warns once and then is silent, instead of ending a run.

    Args:
        folder: Where W&B writes its `wandb` folder.
        settings: Mode, project, group and so on.
        config: Resolved settings to show.
        identity: Identity of the run.
    """

    def __init__(
        self, folder: Path, settings: TrackingSettings, config: Mapping[str, Any], identity: str
    ) -> None:
        self.broken = False
        self.rows = Rows(self._send)
        super().__init__(
            name=settings.name,
            save_dir=folder,
            id=identity,
            project=settings.project,
            mode=mode_of(settings.mode),
            group=settings.group,
            job_type=settings.job_type,
            tags=list(settings.tags),
            config=dict(config),
            settings=_quiet(),
        )
        # W&B warns of this old setting even when it is empty.
        self._wandb_init.pop("anonymous", None)

    @property
    def experiment(self) -> Any:
        """The W&B run, or something that swallows every call if W&B is broken."""
        if not self.broken:
            with self.guarded():
                return super().experiment
        return _DummyExperiment()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn the first error of W&B into a warning and leave it alone from then on."""
        try:
            yield
        except Exception as error:  # whatever a logger does, the training goes on
            self.broken = True
            LOG.warning("W&B failed and is off for this run: %s", " ".join(str(error).split()))

    def log_hyperparams(self, params: argparse.Namespace | dict[str, Any]) -> None:
        """The settings were given at the start."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Gather numbers or pictures."""
        self.rows.add(metrics, step)

    @rank_zero_only
    def summarise(self, values: Mapping[str, Any]) -> None:
        """Write explicit scalars into the summary, such as `best/val_dice`."""
        if not self.broken:
            with self.guarded():
                self.experiment.summary.update(dict(values))

    @rank_zero_only
    def log_now(self, values: Mapping[str, Any]) -> None:
        """Log media outside of training."""
        if not self.broken:
            with self.guarded():
                self.experiment.log(dict(values))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Send the last row."""
        self.rows.flush()

    @rank_zero_only
    def close(self, exit_code: int = 0) -> None:
        """Send what is left and end the W&B run."""
        self.rows.flush()
        run, self._experiment = self._experiment, None
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
        if not self.broken:
            with self.guarded():
                self.experiment.log({**row, "trainer/global_step": step})


@contextmanager
def tracked(
    folder: Path, settings: TrackingSettings, config: Mapping[str, Any]
) -> Iterator[Tracker | None]:
    """Give a tracker that is closed at the end, with the exit code of the block; `None` if off.

    Args:
        folder: Where the `wandb` folder goes.
        settings: Mode, project, group and so on.
        config: Resolved settings to show.
    """
    if mode_of(settings.mode) == "disabled":
        yield None
        return
    tracker = Tracker(folder, settings, config, settings.id or _identity(folder))
    try:
        yield tracker
    except BaseException:
        tracker.close(exit_code=1)
        raise
    tracker.close()


def log_pictures(trainer: pl.Trainer, key: str, *pictures: Picture) -> None:
    """Show pictures on W&B in the row of the present step."""
    for logger in trainer.loggers:
        if isinstance(logger, Tracker) and not logger.broken:
            with logger.guarded():
                logger.rows.add({key: [_image(picture) for picture in pictures]}, None)


class StudyLog:
    """The W&B run of a whole study: tables, the page, scalars. Does nothing without a tracker."""

    def __init__(self, tracker: Tracker | None) -> None:
        self.tracker = tracker

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Log a table."""
        if self.tracker is not None:
            import wandb

            with self.tracker.guarded():
                table = wandb.Table(columns=list(columns), data=[list(row) for row in rows])
                self.tracker.log_now({name: table})

    def html(self, name: str, page: str | Path) -> None:
        """Log a page, given as a file or as its text."""
        if self.tracker is not None:
            import wandb

            with self.tracker.guarded():
                text = page.read_text("utf-8") if isinstance(page, Path) else page
                self.tracker.log_now({name: wandb.Html(text, inject=False)})

    def pictures(self, name: str, *pictures: Picture) -> None:
        """Log pictures."""
        if self.tracker is not None:
            with self.tracker.guarded():
                self.tracker.log_now({name: [_image(picture) for picture in pictures]})

    def summary(self, values: Mapping[str, Any]) -> None:
        """Write scalars into the summary."""
        if self.tracker is not None:
            self.tracker.summarise(values)


@contextmanager
def study_run(
    folder: Path, tracking: Mapping[str, Any], config: Mapping[str, Any]
) -> Iterator[StudyLog]:
    """Open the W&B run of a study.

    Args:
        folder: Folder of the study.
        tracking: Values of `TrackingSettings`; the job type is `ablate` if not given.
        config: Resolved settings of the study.
    """
    settings = validate(TrackingSettings, {"job_type": "ablate", **tracking})
    with tracked(folder, settings, config) as tracker:
        yield StudyLog(tracker)


def mode_of(asked: Literal["offline", "online", "disabled"]) -> str:
    """Return the mode to use: online needs a key, and `WANDB_MODE` can only make it quieter."""
    order = ["online", "offline", "disabled"]
    wanted = os.environ.get("WANDB_MODE", "online").replace("dryrun", "offline")
    mode = max(asked, wanted if wanted in order else "online", key=order.index)
    return "offline" if mode == "online" and not _has_key() else mode


def _has_key() -> bool:
    """Say whether a login is there; W&B would ask for one and wait."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _wait(file: Path, seconds: float = 20.0) -> None:
    """Wait until an offline run is on disk: on a busy machine `finish` returns before that."""
    until = time.monotonic() + seconds
    while not ended(file):
        if time.monotonic() > until:
            LOG.warning("W&B has not finished %s after %.0f s", file, seconds)
            return
        time.sleep(0.05)


def _identity(folder: Path) -> str:
    """Return the identity of the run in a folder, the same in every session."""
    file = folder / "tracking.json"
    if not file.exists():
        write_json(file, {"id": uuid.uuid4().hex[:12]})
    return read_json(file)["id"]


def _quiet() -> Any:
    import wandb

    return wandb.Settings(console="off", silent=True)


def _image(picture: Picture) -> Any:
    import wandb

    return wandb.Image(str(picture) if isinstance(picture, Path) else picture)
