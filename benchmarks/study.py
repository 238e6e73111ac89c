"""What planning, status and the study layer itself cost, for 10,000 cells.

`python benchmarks/study.py`: a minute. The done cells are folders with made-up notes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from timing import write

from hilum.core.files import write_text
from hilum.study.commands import read
from hilum.study.grid.cells import Cell
from hilum.study.run import run_cell as worker

SEEDS = 100
STORE = {"version": 1, "modalities": ["ct", "pet"], "spacing": [2, 2, 2], "classes": 2}
STUDY: dict[str, Any] = {
    "name": "many",
    "factors": {
        "pretext": {
            "scratch": {},
            "mae": {"pretrain": {"task": {"name": "masked_autoencoder"}}},
        },
        "fusion": {name: {"fusion": {"name": name}} for name in ("early", "late")},
        "split.labels": [1, 2, 4, 8, 16],
        "split.draw": [0, 1, 2, 3, 4],
        "seed": list(range(SEEDS)),
    },
    "pretrain": {"trainer": {"steps": 1000}},
    "finetune": {"trainer": {"steps": 1000}, "split": {"validation": 2}},
}


def command(name: str, file: Path, out: Path) -> dict[str, object]:
    """Time a command as a user runs it: wall seconds and seconds of the processor."""
    before, began = os.times(), time.perf_counter()
    subprocess.run(
        [sys.executable, "-P", "-m", "hilum", "study", name, str(file), "--out", str(out)],
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    after = os.times()
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    wall = time.perf_counter() - began
    return {"what": f"hilum study {name}", "wall_s": round(wall, 2), "cpu_s": round(used, 2)}


def finish(cell: Cell) -> None:
    """Leave the files that a done cell leaves; the numbers are made up."""
    cell.folder.mkdir(parents=True)
    about = {"stage": cell.stage, "levels": cell.levels, "key": cell.key, "recipe": cell.recipe}
    (cell.folder / "cell.json").write_text(json.dumps(about | {"seconds": 1.0, "bytes": 9}))
    (cell.folder / "status.json").write_text(json.dumps({"state": "done"}))
    (cell.folder / "DONE").touch()


def overhead(cells: list[Cell], count: int) -> dict[str, object]:
    """Time what the study adds to a cell: claim, log, notes; the command itself is left out."""

    def done(cell: Cell, tracking: dict[str, Any]) -> None:
        write_text(cell.folder / "DONE", "")

    worker._command = done
    began = time.perf_counter()
    for number, cell in enumerate(cells[:count]):
        place = cell.folder.with_name(f"overhead-{number}")
        worker.run_cell(replace(cell, folder=place), {}, lambda text: None)
    each = (time.perf_counter() - began) / count
    return {"what": "the study's own share of a cell", "wall_s": round(each, 4)}


def main() -> None:
    """Measure an empty study of ten thousand cells, then one that is done."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "store").mkdir()
        about = STORE | {"fingerprint": "x", "cases": []}
        (folder / "store" / "store.json").write_text(json.dumps(about))
        file, out = folder / "study.json", folder / "out"
        file.write_text(json.dumps(STUDY | {"store": str(folder / "store")}))
        cells = read(file, out)[1]
        for state in ("new", "done"):
            if state == "done":
                for cell in cells:
                    finish(cell)
            for what in ("plan", "status"):
                row = command(what, file, out)
                rows.append({**row, "cells": len(cells), "state": state})
                print(rows[-1], file=sys.stderr, flush=True)
        rows.append(overhead(cells, 50))
    print(write("study", "python benchmarks/study.py", rows))


if __name__ == "__main__":
    main()
