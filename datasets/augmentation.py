"""Random changes of a batch of paired patches, each sample drawn from its own seed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ..core.errors import DataError, SettingsError
from ..core.geometry import IntTriple, Triple
from ..core.modality import Modality, modality
from ..core.seeds import torch_generator
from . import augmentation_intensity as intensity
from .augmentation_plan import Plan, Strengths, draw
from .augmentation_settings import AugmentationSettings
from .augmentation_spatial import Pose, matrix_of, move, reach
from .patches import Batch

__all__ = ["AugmentationSettings", "PairedAugmentation"]


class PairedAugmentation:
    """Turn a batch of physical values into the input of a network, changed at random or not.

    Runs on the device of the batch. What happens to a sample depends on its seed and on nothing
    else: not on its batch mates, the step, or the number of workers.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        patch: IntTriple,
        spacing: Triple,
        settings: AugmentationSettings | None = None,
    ) -> None:
        """Fix what every batch has in common.

        Args:
            modalities: Name of each channel.
            patch: Sides of the result in voxels.
            spacing: mm per voxel.
            settings: What may happen.
        """
        if len(patch) != 3 or min(patch) < 1:
            raise SettingsError("a patch must have three sides of at least 1", found=patch)
        if min(spacing) <= 0:
            raise SettingsError("spacing must be positive", found=spacing)
        self.modalities, self.patch, self.spacing = tuple(modalities), patch, spacing
        self.rules = [modality(name) for name in self.modalities]
        self.empty = [rule.encode(torch.tensor(float(rule.fill))) for rule in self.rules]
        self.settings = settings or AugmentationSettings.model_validate({})

    def read_shape(self) -> IntTriple:
        """Return the sides that loaders should read, so that moved patches have real borders.

        Enough for the strongest scale and shift with no rotation, and for rotations as far as
        `reach` allows; beyond it a turned patch has corners of air: at the defaults 0.07 % of all
        voxels (1.3 % of the worst patch), for a quarter of the voxels that none would take.
        """
        s = self.settings
        turns = [s.rotation.low, 0.0, s.rotation.high] if s.rotation.p else [0.0]
        zooms = [s.scale.low, 1.0] if s.scale.p else [1.0]
        shift = np.zeros(3)
        if s.misalign_p and len(self.modalities) > 1:
            longest = max((s.misalign.get(name, 0.0) for name in self.modalities), default=0.0)
            shift = 2 * np.ceil(longest / np.array(self.spacing))
        sides = np.array(self.patch, float)
        for d, h, w, zoom in product(turns, turns, turns, zooms):
            sides = np.maximum(sides, reach(Pose((d, h, w), zoom), self.patch, self.spacing))
        # A whole number of voxels on each side of the patch.
        patch = np.array(self.patch)
        grown = np.minimum(sides + shift, np.floor(s.reach * patch)) - patch
        depth, height, width = (patch + 2 * np.ceil(np.round(grown / 2, 6))).astype(int).tolist()
        return depth, height, width

    @torch.no_grad()
    def __call__(self, batch: Batch, augment: bool = True) -> Batch:
        """Return the batch with `image` on the network's scale and all volumes at patch sides.

        Args:
            batch: As `datasets.patches.collate` gives it; not changed.
            augment: If not, only crop the middle and encode.
        """
        self._check(batch)
        count, device = len(batch["image"]), batch["image"].device
        shape = (count, len(self.modalities), *self.patch)
        result: Batch = {
            **batch,
            "image": torch.zeros(shape, device=device),
            "available": batch["available"].clone(),
            "regions": torch.empty((count, 1, *self.patch), dtype=torch.uint8, device=device),
        }
        if "label" in batch:
            result["label"] = torch.empty_like(result["regions"])
        # One transfer from the device for the whole batch.
        seeds, available = batch["seed"].tolist(), batch["available"].tolist()
        for row, (seed, have) in enumerate(zip(seeds, available, strict=True)):
            plan = draw(self.settings, self.modalities, seed, have) if augment else Plan()
            self._one(batch, result, row, have, plan, seed)
        return result

    def _one(
        self, batch: Batch, result: Batch, row: int, have: list[bool], plan: Plan, seed: int
    ) -> None:
        """Fill one row of the result."""
        image, regions = self._moved(batch, result, row, have, plan)
        result["regions"][row, 0] = regions
        for channel, rule in enumerate(self.rules):
            if not have[channel]:
                continue
            if channel in plan.hidden:
                result["available"][row, channel] = False
                continue
            x = image[channel]
            if channel in plan.changes:
                generator = torch_generator(
                    seed, "noise", self.modalities[channel], device=str(x.device)
                )
                x = _changed(x, rule, plan.changes[channel], self.settings, self.spacing, generator)
            # Noise and blur must not show beyond the field of view.
            outside = (regions & (1 << (channel + 1))) == 0
            torch.where(
                outside,
                self.empty[channel].to(x.device),
                rule.encode(x),
                out=result["image"][row, channel],
            )

    def _moved(
        self, batch: Batch, result: Batch, row: int, have: list[bool], plan: Plan
    ) -> tuple[dict[int, Tensor], Tensor]:
        """Return the channels that there are and the regions, moved; write the label."""
        image, regions = batch["image"][row], batch["regions"][row, 0]
        source = cast(IntTriple, tuple(image.shape[1:]))
        fills = [rule.fill for rule in self.rules]
        # At least one channel, so that the marks move.
        still = [c for c, has in enumerate(have) if has and c not in plan.shifts] or [0]
        matrix = matrix_of(plan.pose, source, self.patch, self.spacing)
        marks = [regions, batch["label"][row, 0]] if "label" in batch else [regions]
        picked = image if len(still) == len(image) else image[still]
        moved, marks = move(picked, marks, matrix, self.patch, [fills[c] for c in still])
        if "label" in result:
            result["label"][row, 0] = marks[1]
        channels = dict(zip(still, moved, strict=True))
        for c, shift in plan.shifts.items():
            own = matrix_of(plan.pose, source, self.patch, self.spacing, shift)
            one = slice(c, c + 1)
            alone, seen = move(image[one], [regions], own, self.patch, fills[one])
            channels[c], bit = alone[0], 1 << (c + 1)
            marks[0] = (marks[0] & (255 - bit)) | (seen[0] & bit)
        return channels, marks[0]

    def _check(self, batch: Batch) -> None:
        shape = tuple(batch["image"].shape)
        if len(shape) != 5 or shape[1] != len(self.modalities):
            raise DataError(
                f"a batch must have the channels {', '.join(self.modalities)}", found=list(shape)
            )
        if any(n < p for n, p in zip(shape[2:], self.patch, strict=True)):
            raise DataError(
                f"a batch must hold the patch of {list(self.patch)}",
                case=batch["case"][0],
                found=list(shape[2:]),
                remedy="let the loader read PairedAugmentation.read_shape()",
            )


def _changed(
    x: Tensor,
    rule: Modality,
    change: Strengths,
    settings: AugmentationSettings,
    spacing: Triple,
    generator: torch.Generator,
) -> Tensor:
    """Return one channel after what was drawn for it: first resolution, then noise, then scale."""
    for name in ("resolution", "blur"):
        if name in change:
            x = intensity.blur(x, change[name], spacing)
    if "low_resolution" in change:
        x = intensity.low_resolution(x, change["low_resolution"])
    if "count_noise" in change:
        x = intensity.count_noise(x, change["count_noise"], settings.grain_mm, spacing, generator)
    if "noise" in change:
        x = intensity.window_noise(x, rule, change["noise"], generator)
    if "suv_scale" in change:
        x = x * change["suv_scale"]
    if change.keys() & {"contrast", "brightness", "gamma"}:
        x = intensity.tone(
            x,
            rule,
            contrast=change.get("contrast", 1.0),
            brightness=change.get("brightness", 0.0),
            gamma=change.get("gamma", 1.0),
            inverted=bool(change.get("inverted", 0.0)),
        )
    return x
