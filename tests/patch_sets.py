"""Datasets of patches in one line, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hilum.core.geometry import IntTriple
from hilum.datasets.augmentation.paired import PairedAugmentation
from hilum.datasets.loading.patches import PatchDataset
from hilum.datasets.loading.settings import PatchSettings
from hilum.datasets.store.case_store import CaseStore


def patch_set(
    store: CaseStore,
    ids: Sequence[str],
    shape: IntTriple,
    length: int,
    seed: int,
    modalities: Sequence[str] = (),
    *,
    inner: IntTriple | None = None,
    augmentation: PairedAugmentation | None = None,
    augment: bool = True,
    **drawn: Any,
) -> PatchDataset:
    """Return a dataset that reads boxes of `shape` around patches of `inner`, else of `shape`."""
    settings = PatchSettings(inner or shape, tuple(modalities), **drawn)
    return PatchDataset(
        store, ids, settings, length, seed, box=shape, augmentation=augmentation, augment=augment
    )
