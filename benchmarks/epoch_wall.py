"""Measure the wall time of fine-tuning steps on all cores, each tool as its command runs it.

`python benchmarks/epoch_wall.py` writes `results/epoch_wall.json` in five minutes. Network, patch,
batch, data and kinds of augmentation are those of `epoch.py`; threads and reading ahead are each
tool's own: as many processes that augment as there are cores and as many threads for the step in
nnU-Net, all cores for the step, which reads its batch first, here. Every run has a process of its
own, and its first steps do not count. Other work on the machine does: run it on a quiet one.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from cohort import point_nnunet
from epoch import SIDE, nnunet_trainer, real_step, settings
from timing import in_processes, row_of, write

from hilum.core.settings import validate
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.bench import short
from hilum.finetune.ready import parts_of
from hilum.finetune.settings import FinetuneSettings
from hilum.training.bench import WARM

STEPS = 10
CORES = os.cpu_count() or 1
WAYS = ("hilum", "hilum, float32", "nnU-Net")


def train(way: str, folder: Path) -> None:
    """Train in this process, and print the seconds of a step.

    Args:
        way: One of `WAYS`.
        folder: Holds what every way reads.
    """
    del os.environ["OMP_NUM_THREADS"]  # what the other comparisons work with, and no user
    torch.set_num_threads(CORES)
    run = settings(CaseStore(folder / "store"), "auto" if way == "hilum" else "32")
    if way == "nnU-Net":
        from peers import nnunet_read

        point_nnunet(folder)
        os.environ.update(nnUNet_n_proc_DA=str(CORES))
        trainer = nnunet_trainer(nnunet_read(folder), parts_of(run)[0])
        trainer.network.train()
        for number in range(STEPS + WARM):
            if number == WARM:
                began = time.perf_counter()
            trainer.train_step(next(trainer.dataloader_train))
        print([(time.perf_counter() - began) / STEPS], flush=True)
        for process in multiprocessing.active_children():  # they would be waited for
            process.kill()
        os._exit(0)
    values = short(run, STEPS, "disabled").model_dump()
    values["trainer"] |= {"threads": None}
    with tempfile.TemporaryDirectory() as place:
        print([real_step(validate(FinetuneSettings, values), Path(place) / "run")])


def main() -> None:
    """Run every way in turn and write one file."""
    from peers import both_prepared

    with tempfile.TemporaryDirectory() as folder:
        both_prepared(Path(folder))
        found = in_processes(__file__, WAYS, folder, rounds=3)
    times = {way: [seconds for (seconds,) in values] for way, values in found.items()}
    what = f"wall time of a step of an epoch on all cores, tiny resenc, 2 x 2 x {SIDE}^3, augmented"
    file = write(
        "epoch_wall",
        "python benchmarks/epoch_wall.py",
        [row_of(what, times)],
        "each tool's own threads",
    )
    print(file, file=sys.stderr)


if __name__ == "__main__":
    if "--train" in sys.argv:
        train(sys.argv[-2], Path(sys.argv[-1]))
    else:
        main()
