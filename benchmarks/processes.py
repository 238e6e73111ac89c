"""Measure data-parallel training: one process, and two, of one thread each.

`python benchmarks/processes.py` writes `results/processes.json` in three minutes. Each process has
the same batch, so two do twice the work. Figures are CPU seconds per step of the first process with
all its threads, those that exchange gradients included: what sharing costs, on any busy machine.
Waiting for each other is not in them, so the efficiency is the best that can be had.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from unittest import mock

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from cohort import make_cohort, make_store
from epoch import CPU_CLOCK, real_step, settings
from timing import spread, write

from hilum.core.settings import validate
from hilum.finetune.bench import short
from hilum.finetune.settings import FinetuneSettings
from hilum.training import callbacks as watch

torch.set_num_threads(1)
STEPS = 4


def run(base: FinetuneSettings, devices: int, folder: Path) -> float:
    """Return seconds per step."""
    values = short(base, STEPS, "disabled").model_dump()
    values["trainer"] |= {"devices": devices, "batch_size": 1}
    with mock.patch.object(watch, "time", CPU_CLOCK):
        return real_step(validate(FinetuneSettings, values), folder)


def main() -> None:
    """Alternate, and write one file."""
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = make_store(make_cohort(folder, 2), folder / "store")
        for size in ("tiny",):
            base = settings(store, "32", size)
            found: dict[int, list[float]] = {1: [], 2: []}
            for number in range(2):
                for devices in (1, 2) if number % 2 else (2, 1):
                    found[devices].append(run(base, devices, folder / f"{size}{devices}{number}"))
            shares = [a / b for a, b in zip(found[1], found[2], strict=True)]
            rows.append(
                {
                    "what": f"data-parallel step, {size} resenc, a patch of 64^3 each, float32",
                    "s_per_step": {str(n): spread(times) for n, times in found.items()},
                    "efficiency": spread(shares),
                }
            )
            print(rows[-1], file=sys.stderr)
    threads = "one thread a process"
    print(write("processes", "python benchmarks/processes.py", rows, threads), file=sys.stderr)


if __name__ == "__main__":
    main()
