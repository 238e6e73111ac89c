"""Measure an epoch of fine-tuning against nnU-Net's loop, and our loop over its bare steps.

`python benchmarks/epoch.py` writes `results/epoch.json` in ten minutes. Both loops train the same
network on the same voxels with the same patch, batch and kinds of augmentation, from their own
stores, data and augmentation in the same process. Times are CPU seconds of one thread per step;
validation and checkpoints are left out of both.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.update(nnUNet_n_proc_DA="0")

import torch
from cohort import MODALITIES, make_cohort, make_store, point_nnunet
from data import nnunet_like
from timing import Took, compare, write
from torch import Tensor, nn

from hilum.core.settings import validate
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.bench import apart, quietly, short
from hilum.finetune.ready import parts_of
from hilum.finetune.settings import FinetuneSettings
from hilum.training import bench
from hilum.training import callbacks as watch

torch.set_num_threads(1)
SIDE, STEPS = 64, 4
CPU_CLOCK = SimpleNamespace(monotonic=time.process_time, perf_counter=time.process_time)


def settings(store: CaseStore, precision: str, size: str = "tiny") -> FinetuneSettings:
    """Return a run of a few steps that validates, saves and tracks nothing."""
    return validate(
        FinetuneSettings,
        {
            "store": str(store.path),
            "modalities": MODALITIES,
            "split": {"test": "manifest", "validation": 0},
            "encoder": {"name": "resenc", "size": size},
            "patch": (SIDE, SIDE, SIDE),
            "foreground": 0.33,
            "augmentation": nnunet_like().model_dump(),
            "pictures": 0,
            "evaluate_test": False,
            "trainer": {
                "steps": STEPS,
                "batch_size": 2,
                "precision": precision,
                "threads": 1,
                "tracking": {"mode": "disabled"},
            },
        },
    )


class AsTheirs(nn.Module):
    """Our segmenter as nnU-Net calls a network: an image in, logits of each level out."""

    def __init__(self, segmenter: nn.Module) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return logits, finest first."""
        return self.segmenter(image, torch.ones(image.shape[:2], dtype=torch.bool))


def nnunet_trainer(prepared: tuple[Path, Any, dict], module: Any) -> Any:
    """Return nnU-Net's trainer with our network, ready to step on what nnU-Net has prepared."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    _, manager, about = prepared
    plans = dict(manager.plans) | {"continue_training": False}
    network = AsTheirs(module.segmenter)
    with torch.no_grad():
        levels = [x.shape[2:] for x in network(torch.zeros(1, 2, SIDE, SIDE, SIDE))]

    class Trainer(nnUNetTrainer):
        """nnU-Net's own in all but the network."""

        @staticmethod
        def build_network_architecture(  # pyright: ignore
            plans_manager: Any, configuration_manager: Any, inputs: int, outputs: int, deep: bool
        ) -> nn.Module:
            """Return ours."""
            return network

        def _get_deep_supervision_scales(self) -> Any:
            return [[n / SIDE for n in sides] for sides in levels]

    plans["configurations"]["3d_fullres"] |= {"patch_size": [SIDE] * 3, "batch_size": 2}
    trainer = Trainer(plans, "3d_fullres", "all", about, torch.device("cpu"))  # pyright: ignore
    trainer.initialize()
    trainer.dataloader_train, trainer.dataloader_val = trainer.get_dataloaders()
    return trainer


def real_step(run: FinetuneSettings, folder: Path) -> float:
    """Return seconds per step of a real run, which logs them."""
    return bench.real(partial(quietly, run), folder)


def ours(run: FinetuneSettings, folder: Path) -> Took:
    """Return CPU seconds per step of a real run, what it logs of itself by that clock."""
    with mock.patch.object(watch, "time", CPU_CLOCK):
        return Took(real_step(short(run, STEPS, "disabled"), folder))


def bare(run: FinetuneSettings) -> dict[str, float]:
    """Return CPU seconds of each phase of a step that has only data, model and optimiser."""
    own = short(run, STEPS, "disabled")
    with mock.patch.object(bench, "time", CPU_CLOCK):
        return bench.bare(apart(own), own.trainer, STEPS)


def theirs(trainer: Any) -> Took:
    """Return CPU seconds per step of nnU-Net's epoch."""
    trainer.network.train()
    began = time.process_time()
    for _ in range(STEPS):
        trainer.train_step(next(trainer.dataloader_train))
    return Took((time.process_time() - began) / STEPS)


def main() -> None:
    """Run every comparison and write one file."""
    from peers import nnunet_prepared

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        manifest = make_cohort(folder)
        point_nnunet(folder)
        store = make_store(manifest, folder / "store")
        auto, plain = settings(store, "auto"), settings(store, "32")
        trainer = nnunet_trainer(nnunet_prepared(folder), parts_of(plain)[0])
        count = iter(range(10**6))

        def fresh() -> Path:
            return folder / f"run{next(count)}"

        rows = [
            compare(
                f"a training step of an epoch, tiny resenc, 2 x 2 x {SIDE}^3, augmented",
                {
                    "hilum": lambda _: ours(auto, fresh()),
                    "hilum, float32": lambda _: ours(plain, fresh()),
                    "nnU-Net": lambda _: theirs(trainer),
                },
                rounds=5,
            ),
            compare(
                f"the training loop over its bare steps, tiny resenc, 2 x 2 x {SIDE}^3",
                {
                    "bare steps": lambda _: Took(sum(bare(auto).values())),
                    "hilum": lambda _: ours(auto, fresh()),
                },
                rounds=7,
            ),
        ]
        print(write("epoch", "python benchmarks/epoch.py", rows), file=sys.stderr)


if __name__ == "__main__":
    main()
