"""Lightning's view of pretraining: a pretext task, an augmentation, and what they log."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from hilum.core.geometry import Triple
from hilum.core.seeds import derive, numpy_generator, torch_generator
from hilum.datasets.augmentation.paired import PairedAugmentation
from hilum.datasets.batch import Batch, on_host
from hilum.training.fsdp import shard, touch, whole_state
from hilum.training.interval_means import log_terms
from hilum.training.optimisation import LightningOptimiser, configure
from hilum.training.settings import TrainerSettings
from hilum.training.tracking import log_pictures

from .base import PretextBatch, PretextTask
from .monitors import Monitors
from .pictures import write_pictures


class PretrainModule(pl.LightningModule):
    """Has a pretext task; final.

    Every draw of a step comes from the seed and the number of the step, so a resumed run goes on
    with the masks that it would have had. Validation uses the same patches and masks each time.

    Args:
        task: The pretext task with its encoder.
        augmentation: Makes the network's input from a batch.
        spacing: mm per voxel, for pictures.
        settings: Optimisation.
        seed: Seed of the run.
        pictures: Folder for pictures; `None` draws none.
        monitors: Watches the features at validation.
    """

    def __init__(
        self,
        task: PretextTask,
        augmentation: PairedAugmentation,
        *,
        spacing: Triple,
        settings: TrainerSettings,
        seed: int,
        pictures: Path | None = None,
        monitors: Monitors | None = None,
    ) -> None:
        super().__init__()
        self.monitors = monitors
        self.task, self.augmentation = task, augmentation
        self.spacing, self.settings, self.seed, self.folder = spacing, settings, seed, pictures
        self._whole: list[PretextTask] = []  # a list, so that it is no submodule

    def configure_model(self) -> None:
        """Divide a copy of the task over the processes, if the run is sharded."""
        if self._device_mesh is None or self._whole:
            return
        self._whole = [self.task]
        self.task = copy.deepcopy(self.task)
        shard(self, self._device_mesh["data_parallel"], "training_step", "validation_step")

    def on_train_end(self) -> None:
        """Give a divided task back as one."""
        if not self._whole:
            return
        state = whole_state(self.task)
        self.task = self._whole.pop()
        if state:  # the first process has it
            self.task.load_state_dict(state)

    @property
    def _many(self) -> bool:
        """Whether to change validation patches, always alike: equal views would teach nothing."""
        return self.task.views > 1

    def networks(self) -> tuple[nn.Module, ...]:
        """Return what takes the time of a step."""
        return self.task.passes()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        part = batch_idx % self.settings.accumulate
        loss, terms = self.task.loss(
            self.view(batch, True, "train", int(self.trainer.global_step), part)
        )
        log_terms(self, {f"train/{name}": value for name, value in terms.items()})
        return touch(self, loss) if self._whole else loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take a step, and let the task follow it before a checkpoint can be written."""
        super().optimizer_step(*args, **kwargs)
        self.task.after_step(int(self.trainer.global_step) + 1, self.settings.steps)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the loss of a fixed batch, and draw the first one."""
        view = self.view(batch, self._many, "validation", batch_idx)
        loss, terms = self.task.loss(view)
        # Here nothing is lost by reading: a term of nothing would make the mean nan.
        there = {name: value for name, value in terms.items() if not bool(value.isnan())}
        values = {"loss": loss.detach(), **there}
        named: dict[str, Any] = {f"val/{name}": value for name, value in values.items()}
        self.log_dict(named, batch_size=len(batch["case"]))
        if self.monitors is not None:
            self.monitors.add(self.task, view, terms, batch)
        if batch_idx == 0 and self.folder is not None and self.trainer.is_global_zero:
            self._draw(batch, self.folder)

    def on_validation_epoch_start(self) -> None:
        """Begin to watch again."""
        if self.monitors is not None:
            self.monitors.begin()

    def on_validation_epoch_end(self) -> None:
        """Log what was seen; every process validates on the same patches."""
        if self.monitors is not None:
            values: dict[str, Any] = dict(self.monitors.end(int(self.trainer.global_step)))
            self.log_dict(values)

    def configure_optimizers(self) -> LightningOptimiser:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Train everything at one rate."""
        return configure({"pretext": (self.task, 1.0)}, self.settings)

    def view(self, batch: Batch, augment: bool, *keys: str | int) -> PretextBatch:
        """Return what the task sees of a batch.

        Args:
            batch: As it comes from the loader.
            augment: Whether to change it at random.
            *keys: What the draws of this batch depend on, next to the seed.
        """
        device = str(batch["image"].device)
        # Each process of a run has draws of its own; the first has those of a run with one.
        rank = [self.global_rank] if keys[0] == "train" and self.global_rank else []
        generator = torch_generator(self.seed, "pretext", *keys, *rank, device=device)
        host = numpy_generator(self.seed, "shapes", *keys, *rank)
        first, *rest = [
            self._one(batch, augment, number, generator)._replace(host=host)
            for number in range(self.task.views)
        ]
        return first._replace(others=tuple(rest))

    def _one(
        self, batch: Batch, augment: bool, number: int, generator: torch.Generator
    ) -> PretextBatch:
        """Return one random view; all share one generator."""
        if number:
            own = [(derive(seed, "view", number), have) for seed, have in on_host(batch)]
            batch = {**batch, "host": own}
        # Positions and SUV need more digits than the network.
        with torch.autocast(batch["image"].device.type, enabled=False):
            ready = self.augmentation(batch, augment)
        return PretextBatch(
            ready["image"],
            ready["available"],
            (ready["regions"] & 1).bool(),
            generator,
            inside(ready["regions"], len(self.augmentation.modalities)),
            ready.get("shift"),
            cases=tuple(batch["case"]),
            there=[have for _, have in on_host(ready)],
        )

    def _draw(self, batch: Batch, folder: Path) -> None:
        view = self.view(batch, self._many, "validation", 0)
        volumes = self.task.pictures(view)
        # The patch with the most scans, and then with the most of a patient in it, says the most.
        sample = int((view.available.sum(1) + view.body.float().mean((1, 2, 3, 4))).argmax())
        file = folder / f"step-{self.trainer.global_step:06d}.png"
        names: Sequence[str] = self.augmentation.modalities
        write_pictures(file, volumes, names, self.spacing, sample, view.available)
        log_pictures(self.trainer, "pictures/pretext", file)


def inside(regions: Tensor, modalities: int) -> Tensor:
    """Return booleans `[B, M, D, H, W]`: where each modality's scan covers the patient."""
    bits = torch.arange(1, modalities + 1, device=regions.device, dtype=regions.dtype)
    return ((regions >> bits.view(-1, 1, 1, 1)) & 1).bool()
