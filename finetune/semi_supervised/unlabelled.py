"""Batches of labelled patches, each with a batch of unlabelled ones next to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from hilum.core.errors import DataError
from hilum.core.seeds import derive
from hilum.datasets.augmentation.paired import PairedAugmentation
from hilum.datasets.loading.datamodule import PatchData
from hilum.datasets.loading.loader import PatchLoader
from hilum.datasets.loading.prefetch import OnDevice
from hilum.datasets.loading.settings import LoadingSettings, PatchSettings
from hilum.datasets.splits import Split
from hilum.datasets.store.case_store import CaseStore
from hilum.training.threads import readers

from ..data import CaseValidation
from ..settings import FinetuneSettings


class BothLoaders:
    """Batches of one loader that hold the batches of another as `unlabelled`. Final."""

    def __init__(
        self, labelled: PatchLoader | OnDevice, unlabelled: PatchLoader | OnDevice
    ) -> None:
        self.labelled, self.unlabelled = labelled, unlabelled

    def __len__(self) -> int:
        return len(self.labelled)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for one, other in zip(self.labelled, self.unlabelled, strict=True):
            yield {**one, "unlabelled": other}

    def state_dict(self) -> dict[str, int]:
        """Return nothing: the data module knows the place."""
        return {}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Do nothing: the loaders are made for the right place."""


class UnlabelledToo(pl.LightningDataModule):
    """The patches of a run with unlabelled ones next to them. Final.

    Args:
        labelled: What the run trains on and validates with.
        unlabelled: As many patches without labels.
    """

    def __init__(self, labelled: CaseValidation | PatchData, unlabelled: PatchData) -> None:
        super().__init__()
        self.labelled, self.unlabelled = labelled, unlabelled

    def setup(self, stage: str) -> None:
        """Prepare validation."""
        self._join()
        self.labelled.setup(stage)

    def train_dataloader(self) -> BothLoaders:
        """Return the batches of the steps that are left."""
        self._join()
        return BothLoaders(self.labelled.train_dataloader(), self.unlabelled.train_dataloader())

    def val_dataloader(self) -> DataLoader | PatchLoader | list[Any]:
        """Return what the run validates with."""
        self._join()
        return self.labelled.val_dataloader()

    def state_dict(self) -> dict[str, int]:
        """Return the place in the run."""
        self._join()
        return self.labelled.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on from a place."""
        self.labelled.load_state_dict(state_dict)
        self.unlabelled.load_state_dict(state_dict)

    def _join(self) -> None:
        self.labelled.trainer = self.unlabelled.trainer = self.trainer


def unlabelled_patches(
    store: CaseStore,
    split: Split,
    settings: FinetuneSettings,
    modalities: Sequence[str],
    zscored: Sequence[str] = (),
) -> PatchData:
    """Return patches anywhere in the bodies of the unlabelled cases, for a module to augment."""
    trainer = settings.trainer
    replayed = settings.synthetic.replayed(trainer.batch_size)
    return PatchData(
        store,
        unlabelled_cases(store, split, modalities),
        loading=LoadingSettings(
            PatchSettings(
                settings.patch,
                tuple(modalities),
                labelled=False,
                zscored=tuple(zscored),
                weights=settings.weights,
            ),
            batch_size=max(replayed, trainer.batch_size if settings.teacher.weight else 1),
            accumulate=trainer.accumulate,
            steps=trainer.steps,
            seed=derive(settings.seed, "unlabelled"),
            workers=readers(trainer),
        ),
        augmentation=PairedAugmentation(
            modalities, settings.patch, store.spacing, settings.augmentation, zscored
        ),
        late=True,
    )


def unlabelled_cases(store: CaseStore, split: Split, modalities: Sequence[str]) -> list[str]:
    """Return the cases of the pool that may train without their labels.

    Those of patients who validate or test are never among them, nor are the labelled training
    cases.

    Raises:
        DataError: If there are none.
    """
    patient = {name: row["patient"] for name, row in store.rows.items()}
    kept = {patient[name] for name in (*split.validation, *split.test)}
    found = [
        name
        for name in split.pool
        if name not in split.train
        and patient[name] not in kept
        and set(modalities) & set(store.rows[name]["modalities"])
    ]
    if not found:
        raise DataError(
            "a mean teacher, pseudo-labels or replayed synthetic nodes need cases other than the "
            "labelled training cases",
            file=store.path,
            found=f"none among the {len(split.pool)} cases of the pool",
            remedy="lower split.labels, or set teacher.weight and synthetic.replay to 0",
        )
    return found
