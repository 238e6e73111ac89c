"""Draw what a network would see of a case store, with the settings that a run would have."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from hilum.core.geometry import IntTriple
from hilum.core.settings import Settings, validate

from .augmentation.paired import AugmentationSettings, PairedAugmentation
from .batch import collate
from .loading.patches import PatchDataset
from .loading.settings import PatchSettings
from .preview import preview
from .store.case_store import CaseStore


class PreviewSettings(Settings):
    """Patches to draw; names and defaults are those of `hilum finetune`."""

    patch: IntTriple = Field((64, 64, 64), description="sides of a patch, voxels")
    samples: int = Field(8, ge=1, le=64, description="patches to draw")
    foreground: float = Field(
        0.67, ge=0, le=1, description="fraction of patches that lie on a lymph node"
    )
    seed: int = Field(0, ge=0, description="which patches")
    modalities: tuple[str, ...] | None = Field(
        None, description="channels in this order; empty: all of the store"
    )
    augment: bool = Field(True, description="change patches at random, or draw them as they are")
    augmentation: AugmentationSettings = Field(
        default_factory=lambda: validate(AugmentationSettings, {}), description="augmentation"
    )


def preview_store(store: str | Path, file: str | Path, settings: PreviewSettings) -> Path:
    """Write a sheet of patches as the loader gives them to a network.

    Cases without a label are drawn, too; nodes are aimed at only where there are some.

    Args:
        store: Folder of the case store.
        file: PNG to write.
        settings: What to draw.
    """
    cases = CaseStore(store)
    names = settings.modalities or cases.modalities
    augmentation = PairedAugmentation(names, settings.patch, cases.spacing, settings.augmentation)
    ids = [case for case in cases.ids if set(cases.rows[case]["modalities"]) & set(names)]
    dataset = PatchDataset(
        cases,
        ids,
        PatchSettings(
            settings.patch,
            tuple(names),
            settings.foreground,
            labelled=any(cases.rows[case]["labelled"] for case in ids),
        ),
        settings.samples,
        settings.seed,
        augmentation=augmentation,
        augment=settings.augment,
    )
    batch = collate([dataset[index] for index in range(settings.samples)])
    return preview(file, batch, names, cases.spacing, settings.samples)
