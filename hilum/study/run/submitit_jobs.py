"""A study on SLURM through submitit: the same cells and dependencies as with plain `sbatch`."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hilum.core.errors import UserError
from hilum.core.files import write_json

from ..grid.cells import STAGES, Cell
from .order import Order
from .slurm import queued

GRACE_S = 100
"""Seconds that a cell has to save its state after it was asked to."""

ATTEMPTS = 1000
"""Times that a cell may reach its time limit; submitit's own default of three would end it."""


class CellJob:
    """What submitit carries to a node: the command of one cell, in a process of its own.

    submitit asks for a checkpoint inside a signal handler, where a training cannot be saved. The
    cell's own process is asked instead, and the handler waits for it.

    Args:
        arguments: What follows `hilum study cell`.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments = list(arguments)
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        """Run the cell; an exit code other than 0 is an error."""
        command = [sys.executable, "-P", "-m", "hilum", "study", "cell", *self.arguments]
        # SLURM sends submitit's signal to every process of the job, which would end this one.
        self.process = subprocess.Popen(command, preexec_fn=_deaf)
        if code := self.process.wait():
            raise RuntimeError(f"the cell ended with exit code {code}; its log.txt says more")
        return code

    def checkpoint(self) -> Any:
        """Let the cell save its state, and hand the same job back to the queue."""
        import submitit

        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGUSR1)
            _wait_for(self.process.pid, GRACE_S)
        return submitit.helpers.DelayedSubmission(CellJob(self.arguments))

    def __getstate__(self) -> dict[str, Any]:
        return {"arguments": self.arguments, "process": None}


def submit(order: Order, cluster: str = "slurm") -> list[Any]:
    """Hand every cell that is left to submitit; fine-tuning waits for its pretraining.

    Args:
        order: The cells.
        cluster: `slurm`, or submitit's `local` to try things out; that one knows no dependencies.

    Returns:
        submitit's jobs, in the order of the cells.

    Raises:
        UserError: If submitit is not installed, or SLURM is not here or refuses.
    """
    try:
        import submitit
    except ImportError:
        raise UserError(
            "the engine submitit must be installed",
            remedy="pip install hilum[slurm], or take --engine sbatch, which needs nothing",
        ) from None
    if "time" not in order.study.sbatch:
        raise UserError(
            "the study must say how long a cell may take",
            found="no time in its group sbatch",
            remedy="such as sbatch.time=8:00:00; else submitit allows five minutes",
        )
    if waiting := queued(order.out):
        raise UserError(
            "the study must have no jobs in the queue",
            found=", ".join(waiting),
            remedy="wait for them, or `hilum study cancel`",
        )
    tasks: dict[Path, Any] = {}
    ids: list[dict[str, Any]] = []
    try:
        for stage in STAGES:
            own = [cell for cell in order.cells if cell.stage == stage]
            ready = sorted(own, key=lambda cell: str(cell.needs or ""))
            for needs, group in itertools.groupby(ready, key=lambda cell: cell.needs):
                cells = list(group)
                after = f"afterok:{tasks[needs].job_id}" if needs in tasks else ""
                jobs = _submitted(submitit, order, cluster, cells, after)
                tasks |= {cell.folder: job for cell, job in zip(cells, jobs, strict=True)}
                ids.append({"id": jobs[0].job_id.split("_")[0], "stage": stage})
                order.say(f"submitted {ids[-1]['id']}: {len(cells)} {stage} cells {after}".rstrip())
    except (RuntimeError, NameError, ValueError) as error:
        raise UserError(
            "submitit must be able to use SLURM",
            found=" ".join(str(error).split()),
            remedy="mend the group sbatch of the study file, or take --engine local or print",
        ) from None
    finally:
        write_json(order.out / "slurm" / "jobs.json", ids)
    return [tasks[cell.folder] for cell in order.cells]


def _submitted(
    submitit: Any, order: Order, cluster: str, cells: Sequence[Cell], after: str
) -> list[Any]:
    """Submit cells of one stage as one array."""
    executor = submitit.AutoExecutor(
        folder=order.out / "slurm" / "submitit", cluster=cluster, slurm_max_num_timeout=ATTEMPTS
    )
    given = {name.replace("-", "_"): value for name, value in order.study.sbatch.items()}
    limit = given.pop("time")
    more = given | ({"dependency": after, "kill-on-invalid-dep": "yes"} if after else {})
    executor.update_parameters(
        name=f"{order.study.name}-{cells[0].stage}",
        timeout_min=minutes(str(limit)),
        slurm_signal_delay_s=GRACE_S + 20,
        slurm_additional_parameters=more,
    )
    file = str(order.out / "study.yaml")
    with executor.batch():
        return [
            executor.submit(CellJob([file, "--out", str(order.out), "--key", cell.key]))
            for cell in cells
        ]


def minutes(limit: str) -> int:
    """Return SLURM's `minutes`, `h:m:s`, `days-h`, `days-h:m` and so on as minutes, rounded up.

    Raises:
        UserError: If it is no such time.
    """
    if not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", limit):
        raise UserError("a time limit must be as in 8:00:00 or 1-12", found=limit)
    days, _, clock = limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if not days and len(parts) < 3:
        parts = [0, *parts]
    hours, whole, seconds = (*parts, 0, 0)[:3]
    return (int(days or 0) * 24 + hours) * 60 + whole + (seconds > 0)


def _deaf() -> None:
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def _wait_for(pid: int, seconds: float) -> None:
    """Wait until a child has ended, and leave its exit code to whoever waits for it already.

    `Popen.wait` may be what a signal handler has interrupted; called again inside the handler, it
    would wait for a lock that is never released.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG):
                return
        except ChildProcessError:
            return
        time.sleep(0.1)
