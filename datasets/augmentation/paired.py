"""Random changes of a batch of paired patches, each sample drawn from its own seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hilum.core.errors import DataError, SettingsError
from hilum.core.geometry import IntTriple, Triple
from hilum.core.input_scale import standardise
from hilum.core.modality import modality
from hilum.core.seeds import torch_generator

from ..batch import Batch, Sample, on_host
from . import intensity as intensity
from .plan import Plan, draw
from .settings import AugmentationSettings
from .spatial import Pose, matrix_of, move, reach

__all__ = ["AugmentationSettings", "PairedAugmentation"]

VOLUMES = ("image", "regions", "label")
"""What has sides, in a batch and in a sample."""


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
        zscored: Sequence[str] = (),
    ) -> None:
        """Fix what every batch has in common.

        Args:
            modalities: Name of each channel.
            patch: Sides of the result in voxels.
            spacing: mm per voxel.
            settings: What may happen.
            zscored: Modalities that become the z-score of their whole volume; batches then hold
                `moments` (`PatchSettings.zscored`). Others become what `Modality.encode` says.
        """
        if len(patch) != 3 or min(patch) < 1:
            raise SettingsError(
                "a patch must have three sides of at least 1",
                found=patch,
                remedy="as in patch=[96,96,96]",
            )
        if min(spacing) <= 0:
            raise SettingsError(
                "spacing must be positive",
                found=spacing,
                remedy="give mm along depth, height and width",
            )
        self.modalities, self.patch, self.spacing = tuple(modalities), patch, spacing
        self.rules = [modality(name) for name in self.modalities]
        self.zscored = [name in zscored for name in self.modalities]
        self.empty = [
            torch.tensor(0.0) if z else rule.encode(torch.tensor(float(rule.fill)))
            for rule, z in zip(self.rules, self.zscored, strict=True)
        ]
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
            batch: As `datasets.batch.collate` gives it; not changed. One whose samples were
                augmented while they were read is returned as it is.
            augment: If not, only crop the middle and encode.
        """
        if batch.get("augmented"):
            return batch
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
        shifts, seen = [], []
        volumes = [name for name in VOLUMES if name in batch]
        source = batch["image"].shape[2:]
        low = -((np.array(source, np.int64) - np.array(self.patch, np.int64)) // 2)
        for row, (seed, have) in enumerate(on_host(batch)):
            plan = self.plan(seed, have) if augment else Plan()
            box = {name: batch[name][row] for name in (*volumes, *self._moments(batch))}
            into = {name: result[name][row] for name in (*volumes, "available")}
            self._fill(box, low, have, seed, plan, into)
            shifts.append(self._shift(plan))
            seen.append((seed, [has and c not in plan.hidden for c, has in enumerate(have)]))
        result["augmented"], result["host"] = True, seen
        result["shift"] = torch.stack(shifts).to(device, non_blocking=True)
        return result

    def plan(self, seed: int, have: Sequence[bool]) -> Plan:
        """Draw what happens to the sample of a seed.

        Args:
            seed: Of the sample.
            have: Whether its case has each modality.
        """
        return draw(self.settings, self.modalities, seed, have)

    def box(self, plan: Plan) -> tuple[NDArray[np.int64], IntTriple]:
        """Return the box that a plan needs, so that nothing else is read and no corner is missing.

        Returns:
            Its first voxel relative to the first voxel of the patch, and its sides.
        """
        ends = np.array(list(product(*((0, n - 1) for n in self.patch))), float)
        places = []
        for channel in (None, *plan.shifts):
            matrix = self._from_patch(plan, channel)
            # A crop by whole voxels must not grow by what rounding leaves.
            places.append(np.round(ends @ matrix[:, :3].T + matrix[:, 3], 6))
        every = np.concatenate(places)
        low = np.floor(every.min(0)).astype(np.int64)
        d, h, w = (np.ceil(every.max(0)).astype(np.int64) - low + 1).tolist()
        return low, (d, h, w)

    @torch.no_grad()
    def one(self, sample: Sample, plan: Plan, low: NDArray[np.int64]) -> Sample:
        """Return one sample on the network's scale and at patch sides, as a batch of one would be.

        Args:
            sample: A box as it was read.
            plan: What happens.
            low: First voxel of the box, relative to that of the patch.
        """
        have = sample["available"].tolist()
        result: Sample = {
            **sample,
            "image": torch.zeros((len(have), *self.patch)),
            "available": sample["available"].clone(),
            "regions": torch.empty((1, *self.patch), dtype=torch.uint8),
            "augmented": True,
            "shift": self._shift(plan),
        }
        if "label" in sample:
            result["label"] = torch.empty_like(result["regions"])
        self._fill(sample, low, have, sample["seed"], plan, result)
        return result

    def _shift(self, plan: Plan) -> Tensor:
        """Return by how many mm each modality moves against the patient, `[M, 3]`."""
        still = (0.0, 0.0, 0.0)
        return torch.tensor([plan.shifts.get(c, still) for c in range(len(self.modalities))])

    def _fill(
        self,
        box: Mapping[str, Any],
        low: NDArray[np.int64],
        have: Sequence[bool],
        seed: int,
        plan: Plan,
        into: Mapping[str, Any],
    ) -> None:
        """Write one changed sample, with the keys of a `Sample`, into the memory of another.

        Args:
            box: As it was read; `low` is its first voxel relative to that of the patch.
            low: See there.
            have: Whether its case has each modality.
            seed: Its own.
            plan: What happens.
            into: At patch sides.
        """
        channels, regions = self._moved(box, low, have, plan, into)
        into["regions"][0].copy_(regions)
        for channel, rule in enumerate(self.rules):
            if not have[channel]:
                continue
            if channel in plan.hidden:
                into["available"][channel] = False
                continue
            x = channels[channel]
            pair = box["moments"][channel] if self.zscored[channel] else None
            if channel in plan.changes:
                name, device = self.modalities[channel], str(x.device)
                generator = torch_generator(seed, "noise", name, device=device)
                change = plan.changes[channel]
                x = intensity.changed(x, rule, change, self.settings, self.spacing, generator, pair)
            # Noise and blur must not show beyond the field of view.
            outside = (regions & (1 << (channel + 1))) == 0
            empty = self.empty[channel].to(x.device)
            encoded = rule.encode(x) if pair is None else standardise(x, *pair)
            torch.where(outside, empty, encoded, out=into["image"][channel])

    def _moved(
        self,
        box: Mapping[str, Any],
        low: NDArray[np.int64],
        have: Sequence[bool],
        plan: Plan,
        into: Mapping[str, Any],
    ) -> tuple[dict[int, Tensor], Tensor]:
        """Return the channels that there are and the regions, moved; write the label."""
        fills = [rule.fill for rule in self.rules]
        # At least one channel, so that the marks move.
        still = [c for c, has in enumerate(have) if has and c not in plan.shifts] or [0]
        image, read = box["image"], box["regions"][0]
        marks = [read, box["label"][0]] if "label" in box else [read]
        picked = image if len(still) == len(image) else image[still]
        moved, marks = move(
            picked, marks, self._matrix(plan, low), self.patch, [fills[c] for c in still]
        )
        if "label" in into:
            into["label"][0].copy_(marks[1])
        channels = dict(zip(still, moved, strict=True))
        for c in plan.shifts:
            own, one = self._matrix(plan, low, c), slice(c, c + 1)
            alone, seen = move(image[one], [read], own, self.patch, fills[one])
            channels[c], bit = alone[0], 1 << (c + 1)
            marks[0] = (marks[0] & (255 - bit)) | (seen[0] & bit)
        return channels, marks[0]

    def _matrix(
        self, plan: Plan, low: NDArray[np.int64], channel: int | None = None
    ) -> NDArray[np.float64]:
        """Return the matrix from an index of the patch to an index of the box."""
        matrix = self._from_patch(plan, channel)
        matrix[:, 3] -= low
        return matrix

    def _from_patch(self, plan: Plan, channel: int | None) -> NDArray[np.float64]:
        """Return the matrix to an index counted from the first voxel of the patch as it was cut."""
        shift, tilt = (), (0.0, 0.0, 0.0)
        if channel is not None:
            shift, tilt = plan.shifts[channel], plan.tilts.get(channel, tilt)
        return matrix_of(plan.pose, self.patch, self.patch, self.spacing, shift, tilt)

    def _moments(self, batch: Batch) -> tuple[str, ...]:
        if not any(self.zscored):
            return ()
        if "moments" not in batch:
            raise DataError(
                "the z-score of a patch needs the mean and the deviation of its volume",
                case=batch["case"][0],
                remedy="let the loader read PatchSettings.zscored",
            )
        return ("moments",)

    def _check(self, batch: Batch) -> None:
        shape = tuple(batch["image"].shape)
        if len(shape) != 5 or shape[1] != len(self.modalities):
            raise DataError(
                f"a batch must have the channels {', '.join(self.modalities)}",
                found=list(shape),
                remedy="make the augmentation for the modalities of the batch",
            )
        if any(n < p for n, p in zip(shape[2:], self.patch, strict=True)):
            raise DataError(
                f"a batch must hold the patch of {list(self.patch)}",
                case=batch["case"][0],
                found=list(shape[2:]),
                remedy="let the loader read PairedAugmentation.read_shape()",
            )
