"""The commands of `hilum study`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from hilum.core.errors import SettingsError

from .console import clean_stop, say
from .options import KeyValues, StudyFile, Workers

study = typer.Typer(
    help="Ablation studies: planned, resumable, with paired statistics.", rich_markup_mode=None
)
StudyOut = Annotated[Path, typer.Option(help="Folder of the study.")]
CellNames = Annotated[
    list[str] | None, typer.Option("--cell", help="Name of a cell, or part of it; may repeat.")
]


@study.command("plan")
@clean_stop
def study_plan(
    file: StudyFile,
    settings: KeyValues = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the study; without it, every cell is new.")
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="First time a few steps of one cell per stage."),
    ] = False,
) -> None:
    """Show every cell: what is new, done, failed or waiting; check the settings of all."""
    from hilum.study.commands import plan

    if out is not None:
        _show(plan(file, out, settings or [], calibrate=calibrate, say=say))
        return
    if calibrate:
        raise SettingsError("--calibrate needs a folder", remedy="add --out DIR")
    import tempfile

    with tempfile.TemporaryDirectory() as empty:
        _show(plan(file, Path(empty) / "study", settings or [], say=say)[1:])


@study.command("run")
@clean_stop
def study_run(
    file: StudyFile,
    out: StudyOut,
    settings: KeyValues = None,
    workers: Workers = 1,
    engine: Annotated[
        str,
        typer.Option(
            help="local, sbatch, script (sbatch's, printed) or print; all but local return at once."
        ),
    ] = "local",
) -> None:
    """Run every cell that is not done, then write the report; or hand the cells to a cluster."""
    from hilum.study.commands import run, submit

    if engine != "local" and workers > 1:
        raise SettingsError(
            "--workers is how many cells run here at once, and another engine runs them elsewhere",
            found=f"--engine {engine} --workers {workers}",
            remedy="leave out one of them",
        )
    if engine != "local":
        submit(file, out, settings or [], engine=engine, say=say)
        return
    say(f"the report is {run(file, out, settings or [], workers=workers, say=say)}")


@study.command("status")
@clean_stop
def study_status(file: StudyFile, out: StudyOut, settings: KeyValues = None) -> None:
    """Show how far each cell is; reads folders only, so it works from any machine."""
    from hilum.study.commands import status

    _show(status(file, out, settings or []))


@study.command("retry")
@clean_stop
def study_retry(
    file: StudyFile, out: StudyOut, settings: KeyValues = None, cell: CellNames = None
) -> None:
    """Clear the failures of all cells, or of those named; the next run tries them again."""
    from hilum.study.upkeep import retry

    _show(retry(file, out, settings or [], cell or []))


@study.command("logs")
@clean_stop
def study_logs(
    file: StudyFile,
    out: StudyOut,
    settings: KeyValues = None,
    cell: Annotated[
        str, typer.Option(help="Name of a cell, or part of it; without it, the latest log.")
    ] = "",
    lines: Annotated[int, typer.Option(min=1, help="Lines from the end.")] = 40,
) -> None:
    """Show the end of a cell's log."""
    from hilum.study.upkeep import logs

    _show(logs(file, out, settings or [], cell, lines))


@study.command("cancel")
@clean_stop
def study_cancel(file: StudyFile, out: StudyOut, settings: KeyValues = None) -> None:
    """Ask every runner of the study, wherever it is, to save its cell and end."""
    from hilum.study.upkeep import cancel

    _show(cancel(file, out, settings or []))


@study.command("cell", hidden=True)
@clean_stop
def study_cell(
    file: StudyFile,
    out: StudyOut,
    levels: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FACTOR=LEVEL]...", help="A level of every factor."),
    ] = None,
    key: Annotated[str, typer.Option(help="Key of the cell, in place of its levels.")] = "",
) -> None:
    """Run one cell, and what it starts from; exit code 75: stopped, start it again."""
    from hilum.study.upkeep import cell

    cell(file, out, levels or [], key, say=say)


@study.command("sweep")
@clean_stop
def study_sweep(file: StudyFile, out: StudyOut, settings: KeyValues = None) -> None:
    """Write a W&B sweep over the factors, whose agents run the cells."""
    from hilum.study.upkeep import sweep

    say(f"wandb sweep {sweep(file, out, settings or [])}")
    say(f"wandb agent SWEEP_PATH   # the path that it prints, on every machine that sees {out}")


@study.command("collect")
@clean_stop
def study_collect(file: StudyFile, out: StudyOut, settings: KeyValues = None) -> None:
    """Write the tables (CSV) from the cells that are done, without the report."""
    from hilum.study.commands import collect

    _show(str(path) for path in collect(file, out, settings or []))


@study.command("report")
@clean_stop
def study_report(file: StudyFile, out: StudyOut, settings: KeyValues = None) -> None:
    """Write report.html from the cells that are done."""
    from hilum.study.commands import report

    say(f"the report is {report(file, out, settings or [])}")


def _show(lines: Iterable[str]) -> None:
    for line in lines:
        say(line)
