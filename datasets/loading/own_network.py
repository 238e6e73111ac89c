"""Patches for a network and a training loop of one's own: plain torch, plain Lightning."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple

from ..augmentation.paired import PairedAugmentation
from ..augmentation.settings import AugmentationSettings
from ..batch import Sample, collate
from ..splits import SplitSettings, make_split
from ..store.case_store import CaseStore
from .patches import PatchDataset
from .settings import PatchSettings

DRAWS = 2**40
"""Items that torch's generator chooses from; two epochs hardly ever meet."""


class Patches(Dataset[Sample]):
    """Patches of a case store as a torch dataset, drawn again whenever an item is asked for. Final.

    An item is a dictionary as in docs/data-model.md: `image` float32 `[M, D, H, W]` on the scale of
    a network (0 where a modality is absent), `available` `[M]`, `regions` and `label`
    `[1, D, H, W]`, 255 where the label is not known.

    Draws come from torch's generator, so `torch.manual_seed` repeats a run, and each worker of a
    `DataLoader` has its own. After `set_epoch` they are a function of the seed, the epoch and the
    index alone: the same for any number of workers and processes, and after a restart.
    """

    def __init__(
        self,
        store: CaseStore | str | Path,
        cases: Sequence[str] | None = None,
        *,
        patch: IntTriple = (64, 64, 64),
        length: int = 256,
        modalities: Sequence[str] | None = None,
        foreground: float = 0.5,
        labelled: bool = True,
        augmentation: AugmentationSettings | None = None,
        physical: bool = False,
        fixed: bool = False,
        seed: int = 0,
    ) -> None:
        """Say what to draw.

        Args:
            store: The case store, or its folder.
            cases: Cases to draw from; all, with `labelled` all that have a label, if not given.
            patch: Sides in voxels.
            length: Items of an epoch.
            modalities: Channels in this order; all of the store if not given.
            foreground: Share of the items that lie on a node, 0 to 1.
            labelled: Whether to read labels.
            augmentation: Random changes; none if not given.
            physical: Whether `image` is float16 in HU or SUV as stored, not for a network.
            fixed: Whether item `i` is always the same, as for validation.
            seed: Of what is not left to torch's generator, and of the epochs of `set_epoch`.
        """
        own = store if isinstance(store, CaseStore) else CaseStore(store)
        if physical and augmentation is not None:
            raise SettingsError(
                "augmentation gives values on the scale of a network, not physical",
                remedy="leave the augmentation out, or take the scale of the network",
            )
        names = tuple(modalities or own.modalities)
        scale = None if physical else PairedAugmentation(names, patch, own.spacing, augmentation)
        chosen = cases or [n for n in own.ids if own.rows[n]["labelled"] or not labelled]
        self.length, self.fixed = length, fixed
        # In shared memory, so that workers that outlive an epoch hear of the next.
        self._epoch = torch.full((), -1, dtype=torch.int64).share_memory_()
        self.patches = PatchDataset(
            own,
            chosen,
            PatchSettings(patch, names, foreground, labelled=labelled),
            length if fixed else DRAWS,
            seed,
            augmentation=scale,
            augment=augmentation is not None,
        )

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.length:
            raise IndexError(index)
        if self.fixed:
            return self.patches[index]
        # Consecutive items of one turn keep the shares of nodes and background.
        turns, epoch = DRAWS // max(self.length, 1), int(self._epoch)
        turn = int(torch.randint(turns, ())) if epoch < 0 else epoch % turns
        return self.patches[turn * self.length + index]

    def set_epoch(self, epoch: int) -> None:
        """Draw by the number of an epoch from now on; call it before each, in every process.

        Args:
            epoch: From 0 on.

        Raises:
            SettingsError: If it is negative.
        """
        if epoch < 0:
            raise SettingsError(
                "an epoch must be 0 or more", found=epoch, remedy="count epochs from 0"
            )
        self._epoch.fill_(epoch)


class Epochs(DistributedSampler[Sample]):
    """The order of each epoch, and its number for `Patches`. Final.

    A sampler for a loader of one's own: `DataLoader(patches, 2, sampler=Epochs(patches))`.
    Lightning calls `set_epoch` by itself, other loops call it before each epoch. Several processes
    share the items of an epoch; each makes the sampler after `torch.distributed` is set up.
    """

    def __init__(self, patches: Patches, *, shuffle: bool = True, seed: int = 0) -> None:
        """Say what to order.

        Args:
            patches: All of them come once in an epoch.
            shuffle: Whether in another order each time.
            seed: Of the orders.
        """
        there = torch.distributed.is_available() and torch.distributed.is_initialized()
        world = torch.distributed.get_world_size() if there else 1
        rank = torch.distributed.get_rank() if there else 0
        super().__init__(patches, world, rank, shuffle=shuffle, seed=seed)
        self.patches = patches
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch."""
        super().set_epoch(epoch)
        self.patches.set_epoch(epoch)


class PatchesData(pl.LightningDataModule):
    """Training patches drawn again each epoch and fixed validation patches, for Lightning. Final.

    Test patients are those of `split`, and are in neither.
    """

    def __init__(
        self,
        store: CaseStore | str | Path,
        split: SplitSettings | None = None,
        *,
        patch: IntTriple = (64, 64, 64),
        batch_size: int = 2,
        length: int = 256,
        validation_length: int = 32,
        modalities: Sequence[str] | None = None,
        foreground: float = 0.5,
        augmentation: AugmentationSettings | None = None,
        workers: int = 0,
        seed: int = 0,
    ) -> None:
        """Say what to draw; `split` is made by `make_split`, all else as in `Patches`."""
        super().__init__()
        self.seed = seed
        self.store = store if isinstance(store, CaseStore) else CaseStore(store)
        self.split = make_split(self.store, split or SplitSettings.model_validate({}))
        self.batch_size, self.workers = batch_size, workers
        make = partial(
            Patches,
            self.store,
            patch=patch,
            modalities=modalities,
            foreground=foreground,
            seed=seed,
        )
        self.training = make(self.split.train, length=length, augmentation=augmentation)
        self.validation = (
            make(self.split.validation, length=validation_length, fixed=True)
            if self.split.validation
            else None
        )

    def train_dataloader(self) -> DataLoader:
        """Return the batches of an epoch."""
        return self._loader(self.training, shuffle=True)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Return the fixed batches; none without validation patients."""
        return [] if self.validation is None else self._loader(self.validation, shuffle=False)

    def _loader(self, patches: Patches, *, shuffle: bool) -> DataLoader:
        return DataLoader(
            patches,
            batch_size=self.batch_size,
            # Lightning tells it the epoch, the same after a restart.
            sampler=Epochs(patches, seed=self.seed) if shuffle else None,
            num_workers=self.workers,
            persistent_workers=bool(self.workers),
            collate_fn=collate,
        )
