"""A tiny network with dropout and its data, for tests of the training loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from hilum.core.runs import RunFolder
from hilum.core.seeds import torch_generator
from hilum.core.settings import Settings
from hilum.training.optimisation import LightningOptimiser, configure
from hilum.training.settings import TrainerSettings
from hilum.training.trainer import fit


class ToySettings(Settings):
    """Settings of a toy run."""

    seed: int = 0
    trainer: TrainerSettings


def trainer_settings(**changes: Any) -> TrainerSettings:
    values = {
        "steps": 12,
        "batch_size": 2,
        "learning_rate": 0.01,
        "precision": "32",
        "validate_every": 4,
        "save_every": 3,
        "log_every": 1,
        "tracking": {"mode": "disabled"},
    }
    return TrainerSettings.model_validate(values | changes)


class Numbers(Dataset[dict[str, Any]]):
    """Item `i` is a pure function of `i`."""

    def __init__(self, length: int, start: int = 0, poison: int | None = None) -> None:
        self.length, self.start, self.poison = length, start, poison

    def __len__(self) -> int:
        return self.length - self.start

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        index += self.start
        x = torch.randn(3, generator=torch_generator(0, "toy", index))
        if index == self.poison:
            x[1] = float("nan")
        return {"image": x, "case": f"case_{index:03d}"}


class ToyData(pl.LightningDataModule):
    """Begins at the sample that its state names, as the real data module does."""

    def __init__(self, settings: TrainerSettings, poison: int | None = None) -> None:
        super().__init__()
        self.settings, self.poison, self.done = settings, poison, 0

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        per_step = self.settings.batch_size * self.settings.accumulate
        numbers = Numbers(self.settings.steps * per_step, self.done * per_step, self.poison)
        return DataLoader(numbers, self.settings.batch_size)

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        return DataLoader(Numbers(5), 2)

    def state_dict(self) -> dict[str, int]:
        return {"done": self.trainer.global_step if self.trainer else 0}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.done = state_dict["done"]


class ToyModule(pl.LightningModule):
    """Learns the sum of three numbers; `values` replaces what validation says."""

    def __init__(self, settings: TrainerSettings, values: dict[int, float] | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.settings, self.values = settings, values or {}
        self.encoder = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.3))
        self.decoder = nn.Linear(4, 1)
        self.seen: list[str] = []
        self.validated: list[int] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        self.seen += batch["case"]
        loss = (self.decoder(self.encoder(batch["image"]))[:, 0] - batch["image"].sum(1)) ** 2
        self.log("train/mse", loss.mean(), batch_size=len(loss))
        return loss.mean()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        if batch_idx == 0:
            self.validated.append(self.trainer.global_step)
        loss = (self.decoder(self.encoder(batch["image"]))[:, 0] - batch["image"].sum(1)) ** 2
        value = self.values.get(self.trainer.global_step, loss.mean())
        self.log("val/score", value, batch_size=len(loss))

    def configure_optimizers(self) -> LightningOptimiser:  # pyright: ignore[reportIncompatibleMethodOverride]
        parts = {"encoder": (self.encoder, 0.5), "decoder": (self.decoder, 1.0)}
        return configure(parts, self.settings)


class StopAt(pl.Callback):
    """Asks the process to stop by a real signal, after a step or inside a validation."""

    def __init__(self, step: int, number: int, where: str = "train") -> None:
        self.step, self.number, self.where = step, number, where

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        self._raise("train", trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        self._raise("validation", trainer)

    def _raise(self, where: str, trainer: pl.Trainer) -> None:
        if where == self.where and trainer.global_step == self.step:
            import signal

            signal.raise_signal(self.number)


def train(
    folder: Path,
    settings: TrainerSettings,
    *callbacks: pl.Callback,
    module: ToyModule | None = None,
    poison: int | None = None,
    **options: Any,
) -> tuple[ToyModule, dict[str, Any]]:
    """Train or resume the toy in a run folder."""
    module = module or ToyModule(settings)
    with RunFolder.open(folder, ToySettings(trainer=settings), "toy") as run:
        data = ToyData(settings, poison)
        options = {"monitor": "val/score", "mode": "min"} | options
        summary = fit(module, data, run, settings, callbacks=callbacks, **options)
    return module, summary
