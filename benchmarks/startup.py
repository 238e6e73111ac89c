"""Measure what starting costs: the command line's help, and importing what trains and predicts.

`python benchmarks/startup.py` writes `results/startup.json` in a minute. Every start is a
process of its own; times are CPU seconds of the process, in turn, the files being in memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

from timing import Action, Took, compare, write

HELP = {
    "hilum --help": "from hilum.cli.app import app; app(['--help'], standalone_mode=False)",
    "import torch": "import torch",
}
TRAIN = {
    "hilum, what fine-tunes": "import hilum.finetune.run",
    "torch alone": "import torch",
    "nnU-Net, trainer": "import nnunetv2.training.nnUNetTrainer.nnUNetTrainer",
    "MONAI": "import monai.networks.nets, monai.transforms, monai.inferers",
}
PREDICT = {
    "hilum, what predicts": "import hilum.segmenter.prediction.cohort",
    "nnU-Net, predictor": "import nnunetv2.inference.predict_from_raw_data",
}


def start(code: str) -> Action:
    """Return running code in a new interpreter, timed by what the system says of it."""

    def run(number: int) -> Took:
        before = os.times()
        subprocess.run([sys.executable, "-P", "-c", code], check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        return Took(
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system
        )

    return run


def wall(code: str) -> float:
    """Return the least seconds of wall time of some starts."""
    found = []
    for number in range(3):
        began = time.perf_counter()
        start(code)(number)
        found.append(time.perf_counter() - began)
    return round(min(found), 3)


def main() -> None:
    """Run every comparison and write one file."""
    rows = []
    for what, codes in (
        ("the command line answers", HELP),
        ("import what trains", TRAIN),
        ("import what predicts", PREDICT),
    ):
        rows.append(compare(what, {name: start(code) for name, code in codes.items()}, rounds=2))
    rows[0]["wall_s"] = wall(HELP["hilum --help"])
    heavy = "import sys, hilum.cli.app; print(sum(m in sys.modules for m in ('torch', 'monai')))"
    ran = subprocess.run([sys.executable, "-P", "-c", heavy], capture_output=True, check=True)
    rows[0]["heavy_imports"] = int(ran.stdout)
    print(write("startup", "python benchmarks/startup.py", rows))


if __name__ == "__main__":
    main()
