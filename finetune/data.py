"""Training patches as everywhere, and whole cases to validate on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hilum.datasets.batch import Batch
from hilum.datasets.loading.datamodule import PatchData
from hilum.datasets.loading.loader import PatchLoader
from hilum.datasets.loading.prefetch import OnDevice
from hilum.datasets.splits import Split
from hilum.datasets.store.case_store import CaseStore
from hilum.datasets.store.organs import split_organs
from hilum.losses.base import Loss

from .settings import FinetuneSettings


def maps_for(loss: Loss, classes: int, organs: bool) -> Callable[[Batch], Batch] | None:
    """Return what adds to a batch the maps of its label that a loss asks for; `None` if none.

    Args:
        loss: Of the run.
        classes: Background included.
        organs: Whether labels hold organs, which are background to the loss.
    """
    return partial(_mapped, loss, classes, organs) if loss.mapped else None


def _mapped(loss: Loss, classes: int, organs: bool, batch: Batch) -> Batch:
    label = cast(Tensor, batch.get("label"))
    found = loss.maps(split_organs(label, classes)[0] if organs else label, classes)
    if found is not None:
        batch["maps"], batch["parts"] = found
    return batch


def nothing_to_draw(settings: FinetuneSettings, store: CaseStore, split: Split) -> list[str]:
    """Return what is asked of patches and cannot be had from the training cases."""
    rows, notes = [store.rows[name] for name in split.train], []
    if settings.hard and not any(row.get("hot_spots") for row in rows):
        notes.append(
            "hard: no training case has uptake off its label; those patches lie anywhere in the "
            "body"
        )
    if settings.copies.p and len({row["patient"] for row in rows if row["nodes"]}) < 2:
        notes.append("copies: nodes of two training patients or more are needed; none is pasted")
    return notes


class WholeCases(Dataset[dict[str, list[str]]]):
    """Names of cases, one a batch; the module reads and predicts them itself."""

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = tuple(ids)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, list[str]]:
        return {"case": [self.ids[index]]}


class CaseValidation(pl.LightningDataModule):
    """The patches of a run, with whole cases in place of its validation patches. Final.

    Args:
        patches: Training batches; they know where a resumed run goes on.
        ids: Validation cases; none for no validation.
    """

    def __init__(self, patches: PatchData, ids: Sequence[str]) -> None:
        super().__init__()
        self.patches, self.ids = patches, tuple(ids)

    def train_dataloader(self) -> PatchLoader | OnDevice:
        """Return the batches of the steps that are left."""
        self.patches.trainer = self.trainer
        return self.patches.train_dataloader()

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Return one batch per validation case."""
        return DataLoader(WholeCases(self.ids), batch_size=None) if self.ids else []

    def state_dict(self) -> dict[str, int]:
        """Return the place in the run."""
        self.patches.trainer = self.trainer
        return self.patches.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on from a place."""
        self.patches.load_state_dict(state_dict)
