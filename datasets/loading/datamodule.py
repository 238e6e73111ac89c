"""The patches of one whole run, for Lightning: one epoch, and an exact resume in its middle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytorch_lightning as pl

from hilum.core.errors import DataError, SettingsError
from hilum.core.geometry import IntTriple

from ..augmentation.paired import PairedAugmentation
from ..batch import Batch
from ..store.case_store import CaseStore
from ..store.organs import check_organs
from .loader import PatchLoader
from .patches import PatchDataset
from .prefetch import OnDevice
from .settings import LoadingSettings

VALIDATION_SEED = 0
"""Validation patches are the same in every run, so that their losses can be compared."""


class PatchData(pl.LightningDataModule):
    """Give a run its training and validation patches.

    A run of `steps` optimiser steps is one epoch. Sample `k` of step `s` depends on the seed, `s`
    and `k` alone, so a run that was stopped after any step goes on with exactly the batches that it
    would have seen: `state_dict` holds the number of steps done, and `train_dataloader` begins
    there. Lightning's loops count from the start of the epoch, so the loader's length stays that of
    the whole run. Save checkpoints at optimiser steps, not between accumulated batches.

    Where patches are changed is decided here alone, by `early`: while they are read, or by the
    module. A module calls `PairedAugmentation` on every batch; one that was changed while it was
    read comes back as it is.

    Attributes:
        late: Whether the module needs the patches as they are stored, GPU or not.
    """

    def __init__(
        self,
        store: CaseStore,
        ids: Sequence[str],
        validation: Sequence[str] = (),
        *,
        loading: LoadingSettings,
        augmentation: PairedAugmentation | None = None,
        late: bool = False,
        finish: Callable[[Batch], Batch] | None = None,
    ) -> None:
        """Say what the run draws.

        Args:
            store: Where the cases are.
            ids: Training cases.
            validation: Cases of the validation patches; none for no validation.
            loading: Which patches, and how they are read. Half of the validation patches lie on
                nodes, none on uptake; their labels have no organs and no shares, nothing is pasted
                into them, and stores of a pool have no weight.
            augmentation: Changes the training patches. Without one, patches are given as they are
                stored.
            late: Whether the module makes several views of a patch, or shows it to a teacher, too.
            finish: Adds to each training batch what is made of augmented patches on the host, such
                as maps of labels; so patches are then changed while they are read, on a GPU too.
                Not with `late`.
        """
        super().__init__()
        self.store, self.ids, self.validation = store, tuple(ids), tuple(validation)
        self.loading, self.augmentation, self.late = loading, augmentation, late
        self.finish = None if late else finish
        organs = loading.patches.organs
        check_organs([store[name] for name in self.ids if organs], organs, store.path)
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
        batches = self.loading.steps * self.loading.accumulate
        total = batches * self.loading.batch_size * world
        left = range(total // self.loading.steps * self.done + rank, total, world)
        loader = self._loader(self._training(total), left, batches, self.finish)
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
        if not 0 <= self.done <= self.loading.steps:
            raise SettingsError(
                f"a run of {self.loading.steps} steps cannot go on from another place",
                found=f"{self.done} steps done",
                remedy="keep steps as it was, or begin a new run",
            )

    def _loader(
        self,
        dataset: PatchDataset,
        indices: Sequence[int],
        length: int | None = None,
        finish: Callable[[Batch], Batch] | None = None,
    ) -> PatchLoader:
        return PatchLoader(
            dataset,
            self.loading.batch_size,
            indices,
            workers=self.loading.workers,
            length=length,
            pin=self._on_gpu(),
            finish=finish,
        )

    def _on_gpu(self) -> bool:
        return bool(self.trainer) and self.trainer.strategy.root_device.type == "cuda"

    @property
    def early(self) -> bool:
        """Whether patches are changed while they are read, which reads no more than is needed.

        Not on a GPU, which changes a whole batch faster than threads do; but for what `finish`
        makes of patches that are changed already.
        """
        where = self.finish is not None or not self._on_gpu()
        return self.augmentation is not None and not self.late and where

    def _box(self) -> IntTriple | None:
        """Return the sides that a module needs to change a patch by itself."""
        return self.augmentation.read_shape() if self.augmentation else None

    def _training(self, length: int) -> PatchDataset:
        augmentation = self.augmentation if self.early else None
        box = None if self.early else self._box()
        return PatchDataset(
            self.store,
            self.ids,
            self.loading.patches,
            length,
            self.loading.seed,
            box=box,
            augmentation=augmentation,
        )

    def _validating(self) -> PatchDataset:
        return PatchDataset(
            self.store,
            self.validation,
            replace(
                self.loading.patches,
                foreground=0.5,
                hard=0.0,
                organs=(),
                copies=None,
                soft=False,
                weights={},
            ),
            self.loading.validation_batches * self.loading.batch_size,
            VALIDATION_SEED,
            box=self._box() if self.late else None,
        )
