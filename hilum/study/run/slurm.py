"""A study on SLURM with plain `sbatch`: one array script per stage, fine-tuning after pretraining.

Two minutes before its time ends, or on pre-emption, a cell is asked to save its state (SIGUSR1 to
the batch shell, which passes it on); it exits with 75, and the script puts itself into the queue
again. Each fine-tuning array waits for the one pretraining task that it starts from, so that a
failed pretraining holds up no other cell.
"""

from __future__ import annotations

import getpass
import itertools
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hilum.core.errors import SettingsError, UserError
from hilum.core.files import write_json, write_text
from hilum.core.side_files import read_side

from ..grid.cells import STAGES, Cell, Stage
from .order import Order, command, this_python

LONGEST = 1000
"""Tasks of one array; SLURM's own limit is 1001 unless the site has raised it."""

SCRIPT = """#!/bin/bash
{options}
# Task n runs the cell in line n (plus the first argument) of the list of keys.
key=$(sed -n "$((SLURM_ARRAY_TASK_ID + ${{1:-0}}))p" {keys})
{command} "$key" &
child=$!
asked=
trap 'asked=USR1; kill -USR1 "$child" 2>/dev/null' USR1
trap 'asked=TERM; kill -USR1 "$child" 2>/dev/null' TERM
ended= why=
while :; do
  asked=
  wait "$child"; now=$?
  [ "$now" -eq 127 ] || ended=$now
  [ -n "$asked" ] || break
  why=$asked
done
# 75: asked to stop, state saved. 138: asked before it could listen. SIGTERM: SLURM decides.
if [ "$why" != TERM ] && {{ [ "$ended" -eq 75 ] || [ "$ended" -eq 138 ]; }}; then
  # The id of one task is that of the whole array: only this name means this task alone.
  scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}" && exit 0
fi
exit "$ended"
"""


def submit(order: Order) -> None:
    """Write the scripts of the cells that are left, and hand them to `sbatch`.

    Raises:
        UserError: If there is no SLURM here, it refuses the job, or the study has jobs in its
            queue already.
    """
    _require("sbatch")
    waiting = queued(order.out)
    if waiting:
        raise UserError(
            "the study must have no jobs in the queue",
            found=", ".join(waiting),
            remedy="wait for them, or `hilum study cancel`",
        )
    folder = _new_folder(order.out / "slurm")
    jobs: list[dict[str, Any]] = []
    tasks: dict[Path, str] = {}
    try:
        for stage in STAGES:
            own = [cell for cell in order.cells if cell.stage == stage]
            if own:
                _submit_stage(order, stage, own, folder, jobs, tasks)
    finally:  # what was submitted before an error must be known to `cancel`
        write_json(order.out / "slurm" / "jobs.json", jobs)


def show(order: Order) -> None:
    """Write what `submit` would hand over, and print it: script by script, and `submit.sh`.

    No SLURM is needed; `sh submit.sh`, where jobs are submitted, gives the commands that `submit`
    gives. `hilum study cancel` knows nothing of such jobs, but for those that run.
    """
    folder = _new_folder(order.out / "slurm")
    tasks: dict[Path, str] = {}
    lines: list[str] = []
    for stage in STAGES:
        own = [cell for cell in order.cells if cell.stage == stage]
        if not own:
            continue
        script = folder / f"{stage}.sbatch"
        groups = _write_stage(order, stage, own, folder)
        order.say(f"# {script}\n{script.read_text('utf-8').rstrip()}")
        for arguments, part in _arrays(groups, tasks, script):
            job = f"job{len(lines) + 1}"
            tasks |= {c.folder: f"${{{job}%%;*}}_{number}" for number, c in enumerate(part, 1)}
            # Only what waits for a job holds a dollar sign of ours.
            words = [f'"{w}"' if w.startswith("--dep") else shlex.quote(w) for w in arguments]
            lines.append(f"{job}=$(sbatch --parsable {' '.join(words)}) || exit 1")
    write_text(folder / "submit.sh", "\n".join(["#!/bin/sh", *lines]) + "\n")
    order.say("\n".join([f"# sh {shlex.quote(str(folder / 'submit.sh'))}", *lines]))


def queued(out: Path) -> list[str]:
    """Return the jobs of a study that SLURM still has; none where it cannot be asked."""
    file = out / "slurm" / "jobs.json"
    if not file.exists() or shutil.which("squeue") is None:
        return []
    ours = {str(job["id"]) for job in read_side(file)}
    asked = subprocess.run(
        ["squeue", "--noheader", "--user", getpass.getuser(), "--format", "%F"],
        capture_output=True,
        text=True,
        check=False,
    )
    return sorted(ours & set(asked.stdout.split()))


def cancel_jobs(out: Path) -> list[str]:
    """Take the waiting tasks out of the queue; running ones see the study's `cancel` file."""
    jobs = queued(out)
    if not jobs or shutil.which("scancel") is None:
        return []
    subprocess.run(["scancel", "--state=PENDING", *jobs], check=False, capture_output=True)
    return [f"taken out of the queue: what waits of job {job}" for job in jobs]


def _submit_stage(
    order: Order,
    stage: Stage,
    cells: Sequence[Cell],
    folder: Path,
    jobs: list[dict[str, Any]],
    tasks: dict[Path, str],
) -> None:
    """Submit the arrays of one stage; cells that start from the same encoder wait together."""
    groups = _write_stage(order, stage, cells, folder)
    for arguments, part in _arrays(groups, tasks, folder / f"{stage}.sbatch"):
        job = _sbatch(arguments)
        after = next((a.split(":")[1] for a in arguments if a.startswith("--dependency")), "")
        tasks.update({cell.folder: f"{job}_{number}" for number, cell in enumerate(part, 1)})
        jobs.append({"id": job, "stage": stage, "cells": [cell.key for cell in part]})
        order.say(
            f"submitted {job}: {len(part)} {stage} cells" + (f", after {after}" if after else "")
        )


def _write_stage(
    order: Order, stage: Stage, cells: Sequence[Cell], folder: Path
) -> list[list[Cell]]:
    """Write script and keys of a stage; return its cells by what they start from, in that order."""
    ordered = sorted(cells, key=lambda cell: str(cell.needs or ""))
    groups = [list(own) for _, own in itertools.groupby(ordered, key=lambda cell: cell.needs)]
    keys = [cell.key for own in groups for cell in own]
    write_text(folder / f"{stage}.keys", "\n".join(keys) + "\n")
    write_text(folder / f"{stage}.sbatch", _script(order, stage, folder))
    return groups


def _arrays(
    groups: Sequence[Sequence[Cell]], tasks: Mapping[Path, str], script: Path
) -> Iterator[tuple[list[str], Sequence[Cell]]]:
    """Yield the arguments of `sbatch` for each array of a stage, and its cells.

    Args:
        groups: As of `_write_stage`.
        tasks: Job and task that makes each folder.
        script: Of the stage.
    """
    first = 0
    for own in groups:
        needs = own[0].needs
        task = None if needs is None else tasks.get(needs)
        after = [] if task is None else [f"--dependency=afterok:{task}"]
        for start in range(0, len(own), LONGEST):
            part = own[start : start + LONGEST]
            yield [f"--array=1-{len(part)}", *after, str(script), str(first)], part
            first += len(part)


def _script(order: Order, stage: str, folder: Path) -> str:
    given = {
        "job-name": f"{order.study.name}-{stage}",
        "chdir": str(Path.cwd()),
        "output": str(folder / f"{stage}-%A_%a.log"),
        "open-mode": "append",
        "signal": "B:USR1@120",
        "kill-on-invalid-dep": "yes",
        **{name.replace("_", "-"): str(value) for name, value in order.study.sbatch.items()},
    }
    for name, value in given.items():
        check_option(name, value)
    # sbatch takes quotes in these lines as a shell does: a folder may have spaces in its name.
    lines = [f"#SBATCH --{name}={shlex.quote(value)}" for name, value in given.items()]
    return SCRIPT.format(
        options="\n".join([*lines, "#SBATCH --requeue"]),
        keys=shlex.quote(str(folder / f"{stage}.keys")),
        command=command(order.out, this_python()),
    )


def check_option(name: str, value: str) -> None:
    """Raise an error if an option of a script would be more than one line of it.

    Raises:
        SettingsError: If it holds a control character, or the name is none.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name) or not value.isprintable():
        raise SettingsError(
            "an option of sbatch must be a word and its value one printable line",
            found=f"{name!r}: {value!r}",
            remedy="mend the group sbatch of the study file, or the name of the folder",
        )


def _sbatch(arguments: Sequence[str]) -> str:
    done = subprocess.run(
        ["sbatch", "--parsable", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        found = " ".join(done.stderr.split()).removeprefix("sbatch: error: ")
        raise UserError(
            "SLURM must accept the job",
            found=found,
            remedy="mend the group sbatch of the study file; `sinfo` lists the partitions",
        )
    return done.stdout.strip().split(";")[0]


def _require(program: str) -> None:
    if shutil.which(program) is None:
        raise UserError(
            f"SLURM's {program} must be on the PATH",
            remedy="run this where jobs are submitted, or take --engine local, print or script",
        )


def _new_folder(parent: Path) -> Path:
    """Return a folder of this submission alone: waiting tasks read the lists of theirs."""
    parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = parent / f"{number:03d}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError
