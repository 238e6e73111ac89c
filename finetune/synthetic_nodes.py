"""Lymph nodes pasted while fine-tuning: into labelled patches, and replayed on unlabelled ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from pydantic import Field
from torch import Tensor

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple, Triple
from hilum.core.settings import Settings
from hilum.core.types import IGNORE
from hilum.datasets.batch import Batch
from hilum.pretrain.base import PretextBatch
from hilum.pretrain.parts.node_pasting import Pasted, paste
from hilum.pretrain.parts.node_recipe import USUAL, Recipe, check_sides, check_voxels

_WHERE = "synthetic.recipe"


class SyntheticSettings(Settings):
    """Whether and how lymph nodes are pasted while fine-tuning."""

    p: float = Field(
        0.0, ge=0, le=1, description="probability that nodes are pasted into a labelled patch"
    )
    replay: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="fraction of each batch that are unlabelled patches with pasted nodes, up to "
        "0.5, rounded to one patch or more; they come on top of trainer.batch_size",
    )
    unpasted: float = Field(
        0.0,
        ge=0,
        le=1,
        description="probability that all of a replayed patch that was not pasted counts as "
        "background; else its uptake is unknown",
    )
    label: int = Field(1, ge=1, description="class of pasted nodes")
    recipe: Recipe = Field(
        USUAL, description="what is pasted, as in the pretext task synthetic_nodes"
    )

    @property
    def on(self) -> bool:
        """Whether anything is pasted."""
        return self.p > 0 or self.replay > 0

    def replayed(self, batch_size: int) -> int:
        """Return how many unlabelled patches go with a batch of labelled ones."""
        if not self.replay:
            return 0
        return max(1, round(batch_size * self.replay / (1 - self.replay)))


class NodePasting:
    """Pastes nodes into the batches of a run. Final.

    A labelled patch keeps its label: pasted nodes are added to it, and a labelled node whose uptake
    a decoy erased becomes unknown. An unlabelled patch gets the label of the pretext task: its own
    uptake is unknown, all else but the pasted nodes background; with the probability `unpasted` of
    the settings the unknown is background, too, as most of it is organs. Every draw comes from the
    generator on the device of the batch, and nothing is read on the host.

    Args:
        settings: What to paste.
        modalities: Name of each channel.
        spacing: mm per voxel.
        patch: Sides of a patch in voxels.
        classes: Of the segmenter, background included.
        zscored: Modalities whose input is a z-score.

    Raises:
        SettingsError: If nodes cannot be pasted into such patches.
    """

    def __init__(
        self,
        settings: SyntheticSettings,
        modalities: Sequence[str],
        spacing: Triple,
        patch: IntTriple,
        classes: int,
        zscored: Sequence[str] = (),
    ) -> None:
        if zscored:
            raise SettingsError(
                "synthetic nodes need inputs on the window scale, whose values have a meaning",
                found=f"{', '.join(zscored)} as z-score",
                remedy="set scale to window for them, or synthetic.p and synthetic.replay to 0",
            )
        if settings.label >= classes:
            raise SettingsError(
                "synthetic.label must be a class of the run",
                found=f"{settings.label}, classes up to {classes - 1}",
                remedy=f"choose 1 to {classes - 1}",
            )
        self.settings, self.modalities, self.spacing = settings, tuple(modalities), spacing
        self.classes = classes
        self.recipe = settings.recipe
        check_voxels(self.recipe, spacing, _WHERE)
        check_sides(self.recipe, patch, spacing, _WHERE)

    def __call__(self, batch: Batch, unlabelled: Batch | None, generator: torch.Generator) -> Batch:
        """Return a batch with pasted nodes, and after it the unlabelled patches with theirs.

        Args:
            batch: Labelled, after augmentation; not changed.
            unlabelled: The same without labels; its first patches are taken, as `replayed` says.
            generator: Of every draw, on their device.
        """
        if self.settings.p:
            batch = self._labelled(batch, generator)
        count = self.settings.replayed(len(batch["case"]))
        if unlabelled is None or not count:
            return batch
        few = cast(Batch, {key: _first(value, count) for key, value in unlabelled.items()})
        pasted = self._paste(few, generator)
        few["image"], few["label"] = pasted.image, self._replayed(pasted.label, generator)
        return _joined(batch, few)

    def _labelled(self, batch: Batch, generator: torch.Generator) -> Batch:
        pasted, label = self._paste(batch, generator), cast(Tensor, batch.get("label"))
        shape = (len(label), 1, 1, 1, 1)
        chosen = torch.rand(shape, generator=generator, device=label.device) < self.settings.p
        lost = pasted.gone & (label > 0) & (label < self.classes)
        new = torch.where(lost, torch.full_like(label, IGNORE), label)
        new = torch.where(pasted.label == 1, torch.full_like(label, self.settings.label), new)
        image = torch.where(chosen, pasted.image, batch["image"])
        return {**batch, "image": image, "label": torch.where(chosen, new, label)}

    def _replayed(self, label: Tensor, generator: torch.Generator) -> Tensor:
        """Return a label of the pretext task with the class of the run, unknown as settings say."""
        if self.settings.unpasted:
            shape = (len(label), 1, 1, 1, 1)
            drawn = torch.rand(shape, generator=generator, device=label.device)
            hidden = (label == IGNORE) & (drawn < self.settings.unpasted)
            label = torch.where(hidden, torch.zeros_like(label), label)
        return torch.where(label == 1, torch.full_like(label, self.settings.label), label)

    def _paste(self, batch: Batch, generator: torch.Generator) -> Pasted:
        body = (batch["regions"] & 1).bool()
        view = PretextBatch(batch["image"], batch["available"], body, generator)
        return paste(view, self.modalities, self.spacing, self.recipe)


def _first(value: Any, count: int) -> Any:
    return value[:count] if isinstance(value, Tensor | list) else value


def _joined(one: Batch, other: Batch) -> Batch:
    """Return two batches as one; what only one of them has is left out."""
    result: dict[str, Any] = {}
    for key, value in one.items():
        more = other.get(key)
        if isinstance(value, Tensor) and isinstance(more, Tensor):
            result[key] = torch.cat([value, more])
        elif isinstance(value, list) and isinstance(more, list):
            result[key] = [*value, *more]
        elif key == "augmented":
            result[key] = value
    return cast(Batch, result)
