"""The patches of one whole run, for Lightning: one epoch, and an exact resume in its middle."""

from __future__ import annotations

from collections.abc import Sequence

import pytorch_lightning as pl

from hilum.core.errors import DataError, SettingsError
from hilum.core.geometry import IntTriple

from ..augmentation.paired import PairedAugmentation
from ..store.case_store import CaseStore
from ..store.organs import check_organs
from .loader import PatchLoader
from .patches import PatchDataset
from .prefetch import OnDevice

VALIDATION_SEED = 0
"""Validation patches are the same in every run, so that their losses can be compared."""


class PatchData(pl.LightningDataModule):
    """Give a run its training and validation patches.

    A run of `steps` optimiser steps is one epoch. Sample `k` of step `s` depends on the seed, `s`
    and `k` alone, so a run that was stopped after any step goes on with exactly the batches that it
    would have seen: `state_dict` holds the number of steps done, and `train_dataloader` begins
    there. Lightning's loops count from the start of the epoch, so the loader's length stays that of
    the whole run. Save checkpoints at optimiser steps, not between accumulated batches.

    A module calls `PairedAugmentation` on each batch; one that was augmented while it was read
    comes back as it is.

    Attributes:
        later: Whether the module changes the patches, GPU or not.
    """

    def __init__(
        self,
        store: CaseStore,
        ids: Sequence[str],
        validation: Sequence[str] = (),
        *,
        patch: IntTriple,
        augmentation: PairedAugmentation | None = None,
        batch_size: int,
        steps: int,
        seed: int,
        modalities: Sequence[str] | None = None,
        foreground: float = 0.5,
        hard: float = 0.0,
        labelled: bool = True,
        workers: int = 0,
        accumulate: int = 1,
        validation_batches: int = 8,
        views: int = 1,
        organs: Sequence[int] = (),
    ) -> None:
        """Say what the run draws.

        Args:
            store: Where the cases are.
            ids: Training cases.
            validation: Cases of the validation patches; none for no validation.
            patch: Sides that the network sees, in voxels.
            augmentation: Changes the training patches. Without a GPU it does so while they are
                read, which reads no more than is needed; with one, the loader reads
                `augmentation.read_shape()`, and the module calls it on the device. Without one,
                patches are given as they are stored.
            batch_size: Samples per batch and process.
            steps: Optimiser steps of the whole run.
            seed: Seed of the run.
            modalities: Channels in this order; all of the store if not given.
            foreground: Share of the training patches that lie on a node.
            hard: Share of the training patches that lie on uptake that is no node.
            labelled: Whether to read labels, and to aim at nodes.
            workers: Threads that read; 0 reads when the network waits.
            accumulate: Batches per optimiser step.
            validation_batches: How many fixed batches validate, half of them on nodes.
            views: How many random views the module makes of each patch; above 1, the loader reads
                `augmentation.read_shape()` and leaves the changes to the module, GPU or not.
            organs: Numbers of organs that the labels of training patches have, too.
        """
        super().__init__()
        counts = {"batch_size": batch_size, "steps": steps, "accumulate": accumulate}
        counts |= {"workers": workers + 1, "validation_batches": validation_batches}
        for name, count in counts.items():
            if count < 1:
                least = 0 if name == "workers" else 1
                found = count - 1 if name == "workers" else count
                raise SettingsError(f"{name} must be at least {least}", found=found)
        self.store, self.ids, self.validation = store, tuple(ids), tuple(validation)
        self.patch, self.augmentation = patch, augmentation
        self.batch_size, self.steps, self.accumulate = batch_size, steps, accumulate
        self.seed, self.foreground, self.hard, self.labelled = seed, foreground, hard, labelled
        self.modalities = tuple(modalities or store.modalities)
        self.workers, self.validation_batches = workers, validation_batches
        self.later, self.organs = views > 1, tuple(organs)
        check_organs([store[name] for name in self.ids if organs], self.organs, store.path)
        self.done = 0
        dataset = self._training(0)
        if dataset.foreground and not dataset.with_nodes:
            raise DataError(
                "patches on nodes need a case with nodes",
                file=store.path,
                found=f"none in {len(self.ids)} cases",
                remedy="train on other cases, or set foreground to 0",
            )
        if self.validation:
            self._validating()

    def setup(self, stage: str) -> None:
        """Switch validation off if there is none; Lightning would warn of an empty loader."""
        if self.trainer and not self.validation:
            self.trainer.limit_val_batches = 0

    def train_dataloader(self) -> PatchLoader | OnDevice:
        """Return the batches of the steps that are left; its length is that of the whole run.

        Each optimiser step takes the next items of the run, dealt out to the processes in turn.
        """
        world, rank = (
            (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        )
        batches = self.steps * self.accumulate
        total = batches * self.batch_size * world
        left = range(total // self.steps * self.done + rank, total, world)
        loader = self._loader(self._training(total), left, batches)
        if self.trainer is None or not self._on_gpu():
            return loader
        return OnDevice(loader, self.trainer.strategy.root_device)

    def val_dataloader(self) -> PatchLoader | list[PatchLoader]:
        """Return the fixed validation batches at the network's sides; an empty list for none."""
        if not self.validation:
            return []
        dataset = self._validating()
        return self._loader(dataset, range(len(dataset)))

    def state_dict(self) -> dict[str, int]:
        """Return the number of optimiser steps done."""
        return {"done": self.trainer.global_step if self.trainer else self.done}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on after the steps that were done."""
        self.done = int(state_dict["done"])
        if not 0 <= self.done <= self.steps:
            raise SettingsError(
                f"a run of {self.steps} steps cannot go on from another place",
                found=f"{self.done} steps done",
                remedy="keep steps as it was, or begin a new run",
            )

    def _loader(
        self, dataset: PatchDataset, indices: Sequence[int], length: int | None = None
    ) -> PatchLoader:
        pin = self._on_gpu()
        return PatchLoader(
            dataset, self.batch_size, indices, workers=self.workers, length=length, pin=pin
        )

    def _on_gpu(self) -> bool:
        return bool(self.trainer) and self.trainer.strategy.root_device.type == "cuda"

    def _read(self) -> IntTriple | None:
        return self.augmentation.read_shape() if self.augmentation else None

    def _training(self, length: int) -> PatchDataset:
        read = self._read() if self._on_gpu() or self.later else None
        return PatchDataset(
            self.store,
            self.ids,
            read or self.patch,
            length,
            self.seed,
            self.modalities,
            self.foreground,
            self.labelled,
            hard=self.hard,
            inner=self.patch,
            augmentation=None if read else self.augmentation,
            organs=self.organs,
        )

    def _validating(self) -> PatchDataset:
        return PatchDataset(
            self.store,
            self.validation,
            (self._read() if self.later else None) or self.patch,
            self.validation_batches * self.batch_size,
            VALIDATION_SEED,
            self.modalities,
            0.5,
            self.labelled,
            inner=self.patch,
        )
