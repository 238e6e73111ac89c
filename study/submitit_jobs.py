"""A study on SLURM through submitit: the same cells and dependencies as with plain `sbatch`."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..core.errors import UserError
from ..core.files import write_json
from .cells import STAGES
from .engines import Order
from .slurm import queued

GRACE_S = 100
"""Seconds that a cell has to save its state after it was asked to."""


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
        self.process = subprocess.Popen(command)
        if code := self.process.wait():
            raise RuntimeError(f"the cell ended with exit code {code}; its log.txt says more")
        return code

    def checkpoint(self) -> Any:
        """Let the cell save its state, and hand the same job back to the queue."""
        import submitit

        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGUSR1)
            self.process.wait(timeout=GRACE_S)
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
    if waiting := queued(order.out):
        raise UserError("the study must have no jobs in the queue", found=", ".join(waiting))
    tasks: dict[Path, Any] = {}
    ids: list[dict[str, Any]] = []
    try:
        for stage in STAGES:
            own = [cell for cell in order.cells if cell.stage == stage]
            ready = sorted(own, key=lambda cell: str(cell.needs or ""))
            for needs, group in itertools.groupby(ready, key=lambda cell: cell.needs):
                cells = list(group)
                after = f"afterok:{tasks[needs].job_id}" if needs in tasks else ""
                executor = _executor(submitit, order, cluster, stage, after)
                file = str(order.out / "study.yaml")
                with executor.batch():
                    jobs = [
                        executor.submit(CellJob([file, "--out", str(order.out), "--key", c.key]))
                        for c in cells
                    ]
                tasks |= {cell.folder: job for cell, job in zip(cells, jobs, strict=True)}
                ids.append({"id": jobs[0].job_id.split("_")[0], "stage": stage})
                order.say(f"submitted {ids[-1]['id']}: {len(cells)} {stage} cells {after}".rstrip())
    finally:
        write_json(order.out / "slurm" / "jobs.json", ids)
    return [tasks[cell.folder] for cell in order.cells]


def _executor(submitit: Any, order: Order, cluster: str, stage: str, after: str) -> Any:
    folder = order.out / "slurm" / "submitit"
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        given = {name.replace("-", "_"): value for name, value in order.study.sbatch.items()}
        more = given | ({"dependency": after, "kill-on-invalid-dep": "yes"} if after else {})
        executor.update_parameters(
            name=f"{order.study.name}-{stage}",
            slurm_signal_delay_s=GRACE_S + 20,
            slurm_additional_parameters=more,
        )
    except (RuntimeError, NameError, ValueError) as error:
        raise UserError("submitit must be able to use SLURM", found=error) from None
    return executor
