"""The patches of one whole run, for Lightning: one epoch, and an exact resume in its middle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, DistributedSampler

from ..core.errors import DataError, SettingsError, UserError
from ..core.geometry import IntTriple
from .patches import Batch, PatchDataset, Sample, collate
from .store import CaseStore

VALIDATION_SEED = 0
"""Validation patches are the same in every run, so that their losses can be compared."""


class PatchData(pl.LightningDataModule):
    """Give a run its training and validation patches.

    A run of `steps` optimiser steps is one epoch. Sample `k` of step `s` depends on the seed, `s`
    and `k` alone, so a run that was stopped after any step goes on with exactly the batches that it
    would have seen: `state_dict` holds the number of steps done, and `train_dataloader` begins
    there. Lightning's loops count from the start of the epoch, so the loader's length stays that of
    the whole run. Save checkpoints at optimiser steps, not between accumulated batches.

    Augmentation is not done here: call `PairedAugmentation` on the device.
    """

    def __init__(
        self,
        store: CaseStore,
        ids: Sequence[str],
        validation: Sequence[str] = (),
        *,
        patch: IntTriple,
        read_shape: IntTriple | None = None,
        batch_size: int,
        steps: int,
        seed: int,
        modalities: Sequence[str] | None = None,
        foreground: float = 0.5,
        labelled: bool = True,
        workers: int = 0,
        accumulate: int = 1,
        validation_batches: int = 8,
    ) -> None:
        """Say what the run draws.

        Args:
            store: Where the cases are.
            ids: Training cases.
            validation: Cases of the validation patches; none for no validation.
            patch: Sides that the network sees, in voxels.
            read_shape: Sides to read (`PairedAugmentation.read_shape`); `patch` if not given.
            batch_size: Samples per batch and process.
            steps: Optimiser steps of the whole run.
            seed: Seed of the run.
            modalities: Channels in this order; all of the store if not given.
            foreground: Share of the training patches that lie on a node.
            labelled: Whether to read labels, and to aim at nodes.
            workers: Processes that read; 0 reads in this one.
            accumulate: Batches per optimiser step.
            validation_batches: How many fixed batches validate, half of them on nodes.
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
        self.patch, self.read_shape = patch, read_shape or patch
        self.batch_size, self.steps, self.accumulate = batch_size, steps, accumulate
        self.seed, self.foreground, self.labelled = seed, foreground, labelled
        self.modalities = tuple(modalities or store.modalities)
        self.workers, self.validation_batches = workers, validation_batches
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

    def train_dataloader(self) -> DataLoader[Sample]:
        """Return the batches of the steps that are left; its length is that of the whole run."""
        world, rank = (
            (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        )
        per_step = self.batch_size * self.accumulate * world
        dataset = self._training(self.steps * per_step)
        sampler = RunSampler(dataset, self.done * per_step, rank, world)
        return _loader(dataset, self.batch_size, self.workers, sampler)

    def val_dataloader(self) -> DataLoader[Sample] | list[DataLoader[Sample]]:
        """Return the fixed validation batches at the network's sides; an empty list for none."""
        if not self.validation:
            return []
        return _loader(self._validating(), self.batch_size, self.workers)

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

    def _training(self, length: int) -> PatchDataset:
        return PatchDataset(
            self.store,
            self.ids,
            self.read_shape,
            length,
            self.seed,
            self.modalities,
            self.foreground,
            self.labelled,
            inner=self.patch,
        )

    def _validating(self) -> PatchDataset:
        return PatchDataset(
            self.store,
            self.validation,
            self.patch,
            self.validation_batches * self.batch_size,
            VALIDATION_SEED,
            self.modalities,
            0.5,
            self.labelled,
        )


class RunSampler(DistributedSampler[Sample]):
    """Indices of one process in order, from `start` on; the length counts from the beginning.

    Being a `DistributedSampler`, Lightning leaves it as it is. Each step takes the next indices of
    the run, dealt out to the processes in turn.
    """

    def __init__(self, dataset: PatchDataset, start: int, rank: int, world: int) -> None:
        super().__init__(dataset, num_replicas=world, rank=rank, shuffle=False)
        self.start = start

    def __iter__(self) -> Iterator[int]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return iter(range(self.start + self.rank, self.total_size, self.num_replicas))


class PatchLoader(DataLoader[Sample]):
    """A loader that reports a bad case in full, and that Lightning knows to be resumable."""

    def __iter__(self) -> Iterator[Batch]:  # pyright: ignore[reportIncompatibleMethodOverride]
        for batch in super().__iter__():
            if isinstance(batch, UserError):
                raise batch
            yield cast(Batch, batch)

    def state_dict(self) -> dict[str, int]:
        """Return nothing: `PatchData` knows the place."""
        return {}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Do nothing: `PatchData` has made the loader for the right place."""


class _Reporting(torch.utils.data.Dataset[Sample | UserError]):
    """Return errors instead of raising them: torch would rebuild them from their text alone."""

    def __init__(self, dataset: PatchDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample | UserError:
        try:
            return self.dataset[index]
        except UserError as error:
            return error


def _collate(samples: Sequence[Sample | UserError]) -> Batch | UserError:
    for sample in samples:
        if isinstance(sample, UserError):
            return sample
    return collate(cast(Sequence[Sample], samples), torch.float16)


def _loader(
    dataset: PatchDataset, batch_size: int, workers: int, sampler: RunSampler | None = None
) -> PatchLoader:
    return PatchLoader(
        _Reporting(dataset),  # pyright: ignore[reportArgumentType]
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0 and sampler is None,
    )
