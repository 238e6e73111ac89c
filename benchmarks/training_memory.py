"""Measure the memory of training against nnU-Net's trainer, for the same network and patches.

`python benchmarks/training_memory.py` writes `results/training_memory.json` in three minutes. Each
way trains a few steps in a process of its own, on data that were prepared before. The peak is what
the system says of that process from its first step on, libraries included. It counts pages of
mapped files (libraries, ours also the store), which the system takes back when it needs them;
the peak of what belongs to the process alone is looked up every two milliseconds.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.update(nnUNet_n_proc_DA="0")

import torch
from cohort import point_nnunet
from epoch import SIDE, nnunet_trainer, real_step, settings
from timing import in_processes, spread, write

from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.bench import short
from hilum.finetune.ready import parts_of

torch.set_num_threads(1)
STEPS = 8
WAYS = ("hilum", "hilum, float32", "nnU-Net")


def train(way: str, folder: Path) -> None:
    """Train some steps in this process, and print its MiB at most: in all, and its own.

    Args:
        way: One of `WAYS`.
        folder: Holds what every way reads.
    """
    run = settings(CaseStore(folder / "store"), "auto" if way == "hilum" else "32")
    if way == "nnU-Net":
        from peers import nnunet_read

        point_nnunet(folder)
        trainer = nnunet_trainer(nnunet_read(folder), parts_of(run)[0])
        own = _from_here()
        trainer.network.train()
        for _ in range(STEPS):
            trainer.train_step(next(trainer.dataloader_train))
    else:
        own = _from_here()
        with tempfile.TemporaryDirectory() as place:
            real_step(short(run, STEPS, "disabled"), Path(place) / "run")
    print(json.dumps([_mib("VmHWM"), max(own)]))


def _from_here() -> list[float]:
    """Let the system count the peak from here, and return a list that what is ours goes into."""
    Path("/proc/self/clear_refs").write_text("5")
    found: list[float] = []

    def look() -> None:
        while True:
            found.append(_mib("RssAnon"))
            time.sleep(0.002)

    threading.Thread(target=look, daemon=True).start()
    return found


def _mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def _shares(found: dict[str, list[float]], way: str) -> tuple[float, float, float]:
    return spread([a / b for a, b in zip(found[way], found["nnU-Net"], strict=True)])


def main() -> None:
    """Run every way in turn and write one file."""
    from peers import both_prepared

    with tempfile.TemporaryDirectory() as folder:
        both_prepared(Path(folder))
        found = in_processes(__file__, WAYS, folder, rounds=3)
    peaks = {way: [peak for peak, _ in values] for way, values in found.items()}
    own = {way: [alone for _, alone in values] for way, values in found.items()}
    row = {
        "what": f"peak memory of training, tiny resenc, 2 x 2 x {SIDE}^3, augmented",
        "mib": {way: spread(values) for way, values in peaks.items()},
        "mib_of_its_own": {way: spread(values) for way, values in own.items()},
        "share_of_nnunet": {way: _shares(peaks, way) for way in WAYS[:2]},
        "share_of_nnunet_own": {way: _shares(own, way) for way in WAYS[:2]},
    }
    print(row, file=sys.stderr)
    print(write("training_memory", "python benchmarks/training_memory.py", [row]), file=sys.stderr)


if __name__ == "__main__":
    if "--train" in sys.argv:
        train(sys.argv[-2], Path(sys.argv[-1]))
    else:
        main()
