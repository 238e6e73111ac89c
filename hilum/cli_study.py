"""The commands of `hilum study`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hilum.console import clean_stop, say

KeyValues = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings; `hilum settings COMMAND` lists them."),
]
Workers = Annotated[int, typer.Option(min=1, help="Processes.")]

study = typer.Typer(help="Fusion ablation studies: planned, resumable, judged honestly.")
StudyFile = Annotated[Path, typer.Argument(help="Study file (YAML).")]
StudyOut = Annotated[Path, typer.Option(help="Folder of the study.")]


@study.command("plan")
@clean_stop
def study_plan(file: StudyFile, out: StudyOut, settings: KeyValues = None) -> None:
    """Show every cell: what is new, done, failed or waiting."""
    from hilum.study.run import plan

    for line in plan(file, out, settings or []):
        say(line)


@study.command("run")
@clean_stop
def study_run(
    file: StudyFile, out: StudyOut, settings: KeyValues = None, workers: Workers = 1
) -> None:
    """Run every cell that is not done, then write the report."""
    from hilum.study.run import run

    say(f"the report is {run(file, out, settings or [], workers=workers, say=say)}")


@study.command("status")
@clean_stop
def study_status(file: StudyFile, out: StudyOut, settings: KeyValues = None) -> None:
    """Show how far each cell is; reads folders only, so it works from any machine."""
    study_plan(file, out, settings)


@study.command("report")
@clean_stop
def study_report(file: StudyFile, out: StudyOut, settings: KeyValues = None) -> None:
    """Write report.html from the cells that are done."""
    from hilum.study.run import report

    say(f"the report is {report(file, out, settings or [])}")
