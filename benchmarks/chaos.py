"""Kill two runners of one study at random and compare what is left with an undisturbed run.

`python benchmarks/chaos.py`: thirty kills. Every cell must be done once, with the same
bits in its weights, and the result tables must be the same files. With `--points` every command
that writes a folder is killed in front of each of its file operations instead, and run again.
Runners are forked from a process that has imported everything: a kill costs no start of Python.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from timing import write

from hilum.core.files import hash_of_file, write_json
from hilum.core.geometry import Grid
from hilum.core.settings import validate, write_yaml
from hilum.datasets.store.case_store import VERSION, PreparedCase, write_case
from hilum.datasets.store.foreground import nodes_of
from hilum.finetune import run as _finetune  # noqa: F401 - imported before the first fork
from hilum.pretrain import run as _pretrain  # noqa: F401
from hilum.study.commands import read, run
from hilum.study.grid.cells import Cell
from hilum.study.report import report as _report  # noqa: F401
from hilum.study.settings import StudySettings

SIDES = (18, 20, 22)
ENCODER = {"name": "resenc", "features": [4, 8], "blocks": [1, 1]}
TRAINER: dict[str, Any] = {
    "steps": 40,
    "batch_size": 2,
    "learning_rate": 0.03,
    "validate_every": 20,
    "save_every": 5,
    "log_every": 1,
    "threads": 1,
    "tracking": {"mode": "disabled"},
}
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)
"""Three of four runners that end are killed; the fourth may save its cell."""


def store(folder: Path) -> Path:
    """Write eight labelled cases of noise with a bright box, three of which test."""
    rows = []
    grid = Grid.from_spacing(SIDES, (3, 2, 2))
    for number in range(8):
        draw = np.random.default_rng(number)
        label = np.zeros(SIDES, np.uint8)
        label[5:9, 4 + number : 9 + number, 7:12] = 1
        images = np.stack([draw.normal(0, 80, SIDES), draw.gamma(1, 1, SIDES) + 6 * label])
        case = PreparedCase(
            id=f"case_{number}",
            patient=f"patient_{number}",
            site="",
            split="test" if number > 4 else "train",
            images=images.astype(np.float16),
            modalities=("ct", "pet"),
            regions=np.full(SIDES, 7, np.uint8),
            label=label,
            grid=grid,
            source_grid=grid,
            factors={"ct": 1.0, "pet": 1.0},
            inputs={},
        )
        write_case(folder / case.id, case, *nodes_of(label, grid, case.id))
        about = {"modalities": ["ct", "pet"], "labelled": True, "shape": SIDES}
        row = {"id": case.id, "patient": case.patient, "site": "", "split": case.split}
        rows.append(row | about | {"nodes": 1, "classes": 1})
    about = {"version": VERSION, "modalities": ["ct", "pet"], "spacing": [3, 2, 2], "classes": 2}
    write_json(folder / "store.json", about | {"fingerprint": "chaos", "cases": rows})
    return folder


def study(folder: Path, seeds: int) -> Path:
    """Write the study file: two pretraining cells, and three fine-tuning ones per seed."""
    task = {"name": "masked_autoencoder", "block": [4, 4, 4]}
    values: dict[str, Any] = {
        "name": "chaos",
        "store": str(store(folder / "store")),
        "factors": {
            "pretext": {
                "scratch": {},
                "half": {"pretrain": {"task": {**task, "ratio": 0.5}}},
                "most": {"pretrain": {"task": {**task, "ratio": 0.75}}},
            },
            "seed": list(range(seeds)),
        },
        "reference": {"pretext": "scratch"},
        "pretrain": {
            "encoder": ENCODER,
            "patch": [8, 16, 16],
            "validation": 0,
            "probe": {"every": 0},
            "trainer": TRAINER,
        },
        "finetune": {
            "encoder": ENCODER,
            "patch": [8, 16, 16],
            "split": {"labels": 3, "validation": 1},
            "inference": {"window": [8, 16, 16], "overlap": 0},
            "trainer": TRAINER,
            "pictures": 0,
        },
        "conditions": ["ct+pet"],
    }
    write_yaml(folder / "study.yaml", validate(StudySettings, values))
    return folder / "study.yaml"


def runner(file: Path, out: Path, log: Path) -> None:
    """Work as `hilum study run` does; what it says goes to a log of all its lives."""
    import torch

    torch.set_num_threads(1)
    with log.open("a", buffering=1) as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        run(file, out, say=lambda text: print(text, file=stream))


def disturb(
    file: Path, out: Path, logs: Sequence[Path], kills: int, pause: float, seed: int
) -> Counter[str]:
    """Keep a runner alive per log, and end one of them after each pause until it is enough."""
    fork = multiprocessing.get_context("fork")
    draw = random.Random(seed)
    alive: list[Any] = [None] * len(logs)
    ended: Counter[str] = Counter()

    def revive() -> None:
        for number, log in enumerate(logs):
            if alive[number] is None or not alive[number].is_alive():
                alive[number] = fork.Process(target=runner, args=(file, out, log))
                alive[number].start()

    while ended.total() < kills and not (out / "report.html").exists():
        revive()
        time.sleep(draw.uniform(0.1, 2) * pause)
        victim, what = draw.choice(alive), draw.choice(SIGNALS)
        if victim.is_alive():
            os.kill(victim.pid, what)
            victim.join()
            ended[what.name] += 1
    revive()
    for process in alive:
        process.join()
    for process in [p for p in alive if p.exitcode]:
        last = [f"{log}: {log.read_text()[-500:]}" for log in logs if log.exists()]
        raise SystemExit(f"a runner ended with {process.exitcode}; its log ends so: {last}")
    return ended


def problems(calm: Path, wild: Path, cells: Sequence[Cell], logs: Sequence[Path]) -> list[str]:
    """Return what the disturbed study has other than the undisturbed one."""
    found = []
    lines = [line for log in logs for line in log.read_text(errors="replace").splitlines()]
    for cell in cells:
        place = wild / cell.folder.relative_to(calm)
        told = sum(line.startswith(f"done      {cell.stage} {cell.name},") for line in lines)
        if told > 1:
            found.append(f"{cell.name} was done {told} times")
        name = "encoder" if cell.stage == "pretrain" else "segmenter"
        for file in (f"{name}/model.safetensors", "DONE"):
            if not (place / file).exists():
                found.append(f"{cell.name} has no {file}")
        if hash_of_file(cell.folder / name / "model.safetensors") != hash_of_file(
            place / name / "model.safetensors"
        ):
            found.append(f"{cell.name} has other weights")
        steps = (place / "metrics.jsonl").read_text().count('"train/loss"')
        if steps != TRAINER["steps"]:
            found.append(f"{cell.name} has {steps} rows of steps")
    tables = ["results.csv", *(f"tables/{p.name}" for p in sorted((calm / "tables").glob("*.csv")))]
    for name in tables:
        if (calm / name).read_bytes() != (wild / name).read_bytes() and "cost" not in name:
            found.append(f"{name} differs")
    places = [wild / cell.folder.relative_to(calm) for cell in cells]
    files = [p.name for place in places for p in (*place.rglob("*"), *place.parent.glob(".*"))]
    left = [name for name in files if name.startswith(".part-") or "lock" in name]
    return [*found, *(f"{name} is left behind" for name in sorted(set(left)))]


def attempts(wild: Path, calm: Path, cells: Sequence[Cell]) -> int:
    """Return how often runners began a cell; each attempt has a head in the cell's log."""
    logs = [wild / cell.folder.relative_to(calm) / "log.txt" for cell in cells]
    return sum(log.read_text(errors="replace").count(" ---\n") for log in logs)


def at_every_operation(commands: Sequence[str]) -> int:
    """Kill commands, all if none is named, in front of each file operation, and run them again."""
    test = Path(__file__).parents[1] / "tests" / "cli" / "test_kills.py"
    command = [str(Path(sys.executable).with_name("pytest")), "-q", "--timeout=0", str(test)]
    command += ["-k", " or ".join(f"[{name}]" for name in commands)] if commands else []
    return subprocess.run(command, env=os.environ | {"HILUM_KILL_EVERY": "1"}).returncode


def main() -> None:
    """Run the study once in peace, then under fire until it was enough; say what differs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--pause", type=float, default=1.5, help="mean seconds between two kills")
    parser.add_argument("--seeds", type=int, default=3, help="cells: two, and three per seed")
    parser.add_argument("--dry", action="store_true", help="write no results")
    parser.add_argument(
        "--points",
        nargs="*",
        metavar="COMMAND",
        help="instead: kill these commands, or all, at each of their file operations",
    )
    given = parser.parse_args()
    if given.points is not None:
        raise SystemExit(at_every_operation(given.points))
    ended: Counter[str] = Counter()
    found: list[str] = []
    begun = rounds = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = study(folder, given.seeds)
        calm = folder / "calm"
        disturb(file, calm, [folder / "calm.log"], 0, given.pause, rounds)
        cells = read(file, calm)[1]
        began = time.monotonic()
        while ended.total() < given.kills and not found:
            rounds += 1
            wild = folder / f"wild-{rounds}"
            logs = [folder / f"runner-{rounds}-{number}.log" for number in range(2)]
            ended += disturb(file, wild, logs, given.kills - ended.total(), given.pause, rounds)
            found += problems(calm, wild, cells, logs)
            begun += attempts(wild, calm, cells)
        row = {
            "what": "two runners of one study, ended at random and started again",
            "ended": dict(ended),
            "studies": rounds,
            "cells": len(cells) * rounds,
            "attempts": begun,
            "wall_s": round(time.monotonic() - began, 1),
            "problems": found,
        }
    print(row, file=sys.stderr)
    if found:
        raise SystemExit("\n".join(found))
    if not given.dry:
        print(write("chaos", " ".join(["python benchmarks/chaos.py", *sys.argv[1:]]), [row]))


if __name__ == "__main__":
    main()
