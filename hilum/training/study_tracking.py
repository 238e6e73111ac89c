"""The W&B run of a whole study, next to those of its cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hilum.core.settings import validate

from .settings import TrackingSettings
from .tracking import Picture, Tracker, image, tracked


class StudyLog:
    """The W&B run of a whole study: tables, the page, scalars. Does nothing without a tracker."""

    def __init__(self, tracker: Tracker | None) -> None:
        self.tracker = tracker

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Log a table."""
        if self.tracker is not None:
            self.tracker.log_rows(name, columns, rows)

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
                self.tracker.log_now({name: [image(picture) for picture in pictures]})

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
