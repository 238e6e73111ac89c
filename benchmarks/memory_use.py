"""Measure whether memory stays flat over a long run.

`python benchmarks/memory_use.py` writes `results/memory_use.json` in two minutes. Numbers are MiB
that belong to the process alone; pages of mapped files belong to the system.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytorch_lightning as pl
import torch
from cohort import make_cohort, make_store
from growth import patches
from timing import QUICK, write
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hilum.core.runs import RunFolder
from hilum.core.settings import Settings
from hilum.datasets.loading.loader import PatchLoader
from hilum.datasets.store.case_store import CaseStore
from hilum.training.optimisation import LightningOptimiser, configure
from hilum.training.settings import TrainerSettings
from hilum.training.trainer import fit

torch.set_num_threads(1)
PATCHES = 300 if QUICK else 2000
STEPS = 500 if QUICK else 3000
PARTS = 5


def resident() -> float:
    """Return the MiB of this process alone."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def loading(store: CaseStore) -> dict[str, object]:
    """Load for a long time and look at memory now and then."""
    data, found = patches(store, 48), []
    for part in range(PARTS):
        items = range(part * PATCHES // PARTS, (part + 1) * PATCHES // PARTS)
        for _ in PatchLoader(data, 2, items, workers=2):
            pass
        found.append(round(resident(), 1))
    return {"what": f"loading {PATCHES} augmented patches of 48^3", "mib": found}


class Tiny(pl.LightningModule):
    """Next to nothing, so that what is left is the loop."""

    def __init__(self, trainer_settings: TrainerSettings, seen: list[float]) -> None:
        super().__init__()
        self.layer, self.own, self.seen = nn.Linear(4, 1), trainer_settings, seen

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return a loss, and note memory now and then."""
        if batch_idx % (self.own.steps // PARTS) == self.own.steps // PARTS - 1:
            self.seen.append(round(resident(), 1))
        loss = self.layer(batch["image"]).square().mean()
        self.log_dict({"train/a": loss.detach()})
        return loss

    def configure_optimizers(self) -> LightningOptimiser:  # pyright: ignore
        """Return what every run has."""
        return configure({"all": (self.layer, 1.0)}, self.own)


class Numbers(pl.LightningDataModule):
    """As many batches as a run has steps."""

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Return them."""
        rows = [{"image": torch.ones(4)}] * (2 * STEPS)
        return DataLoader(rows, 2)  # pyright: ignore[reportArgumentType]


class Run(Settings):
    """A run of nothing."""

    trainer: TrainerSettings


def loop(folder: Path) -> dict[str, object]:
    """Train next to nothing for thousands of steps, logging every step."""
    values = {"steps": STEPS, "log_every": 1, "validate_every": 10**8, "save_every": 500}
    own = TrainerSettings.model_validate(values | {"tracking": {"mode": "disabled"}})
    seen: list[float] = []
    with RunFolder.open(folder / "loop", Run(trainer=own), "pretrain") as run:
        fit(Tiny(own, seen), Numbers(), run, own)
    return {"what": f"{STEPS} steps of the training loop, each logged", "mib": seen}


def main() -> None:
    """Run every measurement and write one file."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = make_store(make_cohort(folder, 2), folder / "store")
        rows += [loading(store), loop(folder)]
        for row in rows:
            print(row, file=sys.stderr)
    print(write("memory_use", "python benchmarks/memory_use.py", rows), file=sys.stderr)


if __name__ == "__main__":
    main()
