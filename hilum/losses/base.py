"""The contract of a loss: deep supervision, fp32, and unknown voxels that never count."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from hilum.core.errors import SettingsError
from hilum.core.types import IGNORE

from .level import Level as Level


class Maps(NamedTuple):
    """What the terms of a loss must know of the whole label; made once per batch, on the host.

    Attributes:
        values: `[B, n, D, H, W]`.
        parts: Largest number in `values`, where they number parts; so sums over parts have a size
            that needs no look at a device.
    """

    values: Tensor
    parts: int = 0


class Targets(NamedTuple):
    """What the numbers of a label mean, where they are more than one class each.

    Attributes:
        table: Target of each number of the label, float32 `[B, 256, classes]` or, alike for all
            patches, `[256, classes]`: the fraction of each class, 0 to 1; its first column is the
            background's.
        overlapping: Whether a voxel may be of several classes (regions): each is then decided by
            itself, and the background's column is not looked at. Else shares sum to 1.
    """

    table: Tensor
    overlapping: bool = False


class Loss(ABC):
    """Compares predictions with a label that may be partly unknown. Subclasses are final.

    The scalar is the weighted sum of the terms, averaged over levels with weights 1, 1/2, 1/4, ...
    that sum to 1. A coarse level is compared with every n-th voxel of the label. Terms are
    computed in float32, whatever the network computed in. An unknown voxel (255) adds nothing, and
    gets a gradient of exactly zero.

    A class that a patch does not hold has no overlap: any smoothing would either reward an empty
    prediction or punish all others alike. So region terms leave it out, and a voxelwise term must
    say what is wrong there.

    Attributes:
        weights: Of each term, by the name under which it is logged.
        citation: Authors, title, venue, year, and `arXiv:...` or `doi:...`, as in `core.citation`;
            a literal, so that a listing need not import the class.
        small: Parameters without a default, which the contract tests give it.
        any_targets: Whether its terms ask a level for `probability`, `reference` and `surprise`
            alone, and so hold for fractions of classes and for classes that overlap, too.
    """

    citation: ClassVar[tuple[str, str, str, int, str] | None] = None
    small: ClassVar[Mapping[str, Any]] = {}
    any_targets: ClassVar[bool] = False

    def __init__(self, **weights: float) -> None:
        for name, weight in weights.items():
            at_least(name.removesuffix("_loss"), weight, 0)
        if not any(weights.values()):
            raise SettingsError(
                f"{' or '.join(weights)} must have a weight above 0", remedy="raise one of them"
            )
        self.weights = weights

    def __call__(
        self,
        logits: Sequence[Tensor],
        label: Tensor,
        maps: Maps | None = None,
        targets: Targets | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar to minimise, and its terms at full resolution, detached.

        Args:
            logits: `[B, classes, d, h, w]` of each level, finest first.
            label: uint8 `[B, 1, D, H, W]`; 255 is unknown.
            maps: What `maps` made of the label; made here, they bring it from a GPU to the host.
            targets: What the label's numbers mean, if not a class each; needs `any_targets`.
        """
        if maps is None:
            maps = self.maps(label, logits[0].shape[1])
        shares = [0.5**level for level in range(len(logits))]
        total, named = logits[0].new_zeros((), dtype=torch.float32), {}
        for level, (share, scores) in enumerate(zip(shares, logits, strict=True)):
            terms = self.named(scores, label, maps, targets)
            one = sum((self.weights[name] * term for name, term in terms.items()), 0.0)
            total = total + share / sum(shares) * one
            if level == 0:
                named = {name: term.detach() for name, term in terms.items()}
        return total, named

    def named(
        self,
        scores: Tensor,
        label: Tensor,
        maps: Maps | None = None,
        targets: Targets | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms of one level, not weighted.

        Args:
            scores: Logits of the level.
            label: At full resolution.
            maps: What `maps` made of it.
            targets: What its numbers mean.
        """
        # Sums over a volume need float32.
        with torch.autocast(scores.device.type, enabled=False):
            sides = scores.shape[2:]
            coarse = at_resolution(label, sides)
            known = coarse != IGNORE
            exact = scores if scores.dtype == torch.float64 else scores.float()
            target = torch.where(known, coarse, torch.zeros_like(coarse))[:, 0].long()
            level = Level(
                # Before any arithmetic: so not even NaN at an unknown voxel gets through.
                torch.where(known, exact, exact.new_zeros(())),
                target,
                known,
                None if maps is None else at_resolution(maps.values, sides),
                0 if maps is None else maps.parts,
                None if targets is None else _shares(targets.table.to(exact), target, known),
                targets is not None and targets.overlapping,
            )
            return self.terms(level)

    @property
    def mapped(self) -> bool:
        """Whether `maps` makes something, which loaders do better than training steps."""
        return type(self).maps is not Loss.maps

    def maps(self, label: Tensor, classes: int) -> Maps | None:
        """Return what terms must know of the whole label; by default nothing.

        Args:
            label: uint8 `[B, 1, D, H, W]`; 255 is unknown.
            classes: Background included.
        """
        return None

    @abstractmethod
    def terms(self, level: Level) -> dict[str, Tensor]:
        """Return the scalar terms of one level by the names in `weights`."""


def dice_loss(level: Level, batch: bool) -> Tensor:
    r"""Return $1 - \operatorname{mean}_c 2 \sum p_c g_c / (\sum p_c + \sum g_c)$ over held classes.

    Args:
        level: To be compared.
        batch: One Dice over the batch, not one per patch.
    """
    axes = (0, 2, 3, 4) if batch else (2, 3, 4)
    overlap = overlap_of(level).sum(axes)
    volume = level.reference.sum(axes)
    # The denominator is at least 1 where the class is held, and unused elsewhere.
    dice = 2 * overlap / (level.probability.sum(axes) + volume).clamp(min=1e-6)
    return mean_of_held(1 - dice, volume > 0)


def cross_entropy(level: Level) -> Tensor:
    """Return the mean cross-entropy over known voxels; 0 if there are none."""
    return level.surprise.sum() / level.known.sum().clamp(min=1)


def overlap_of(level: Level) -> Tensor:
    """Return the probability of each class inside its reference, 0 outside.

    Of a share the smaller of both, so that the best prediction of a share is the share itself
    (Wang et al., "Dice Semimetric Losses", MICCAI 2023, arXiv:2303.16296: the same on hard labels).
    """
    probability = level.probability
    if level.shares is not None:
        return torch.minimum(probability, level.reference)
    return torch.where(level.reference, probability, probability.new_zeros(()))


def _shares(table: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Return the target of each class `[B, classes, d, h, w]`, 0 where unknown."""
    if table.ndim == 2:
        found = table[target]
    else:
        batch, count = len(target), table.shape[2]
        rows = target.flatten(1)[..., None].expand(-1, -1, count)
        found = table.gather(1, rows).view(batch, *target.shape[1:], count)
    return torch.where(known, found.movedim(-1, 1), found.new_zeros(()))


def mean_of_held(losses: Tensor, held: Tensor) -> Tensor:
    """Return the mean over the entries that are held; 0 if there are none."""
    losses = torch.where(held, losses, losses.new_zeros(()))
    return losses.sum() / held.sum().clamp(min=1)


def at_resolution(label: Tensor, sides: Sequence[int]) -> Tensor:
    """Return the label at other sides: the voxel nearest to each centre, so 255 stays 255."""
    if tuple(label.shape[2:]) == tuple(sides):
        return label
    for axis, (new, old) in enumerate(zip(sides, label.shape[2:], strict=True), 2):
        place = (torch.arange(new, device=label.device) + 0.5) * (old / new)
        label = label.index_select(axis, place.long().clamp(max=old - 1))
    return label


def at_least(name: str, value: float, least: float) -> None:
    """Check a parameter of a loss."""
    if not value >= least:
        raise SettingsError(
            f"{name} must be at least {least:g}", found=value, remedy="give a larger number"
        )
