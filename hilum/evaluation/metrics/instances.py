"""The nodes of a mask: connected components within each class."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import ndimage

from hilum.core.connected_components import components
from hilum.core.types import IGNORE

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Instances:
    """Nodes, numbered from 1 on, the largest first. Final.

    Two nodes of different classes stay two, even where they touch (a primary tumour next to a
    node). Of two of one size the lower class comes first, then the one whose first voxel comes
    first.

    Attributes:
        labels: int32 `[D, H, W]`, the number of each voxel's node; 0 outside.
        classes: Class of each node.
        numbered: Whether the mask numbered them, so that nodes of one class may touch.
    """

    labels: np.ndarray
    classes: tuple[int, ...]
    numbered: bool = False

    @classmethod
    def of(cls, mask: np.ndarray) -> Instances:
        """Find the components (26 neighbours) within each class of a mask.

        Args:
            mask: Booleans or whole numbers `[D, H, W]`; 0 is background, 255 unknown.
        """
        if mask.dtype == bool:
            labels, count = components(mask)
            return cls._ranked(labels, [1] * count)
        box = foreground_box(mask)
        near, found = mask[box], list[int]()
        labels = np.zeros(mask.shape, np.int32)
        for value in values_of(near):
            own = near == value
            parts, count = components(own)
            labels[box][own] = parts[own] + len(found)
            found += [value] * count
        return cls._ranked(labels, found)

    @classmethod
    def by_value(cls, mask: np.ndarray) -> Instances:
        """Take each value of a mask for one node, in however many parts; all are of class 1.

        Args:
            mask: Whole numbers `[D, H, W]`; 0 is background, 255 unknown.
        """
        values = values_of(mask)
        number = np.zeros(max([IGNORE, *values]) + 1, np.int32)
        number[values] = np.arange(1, len(values) + 1)
        return replace(cls._ranked(number[mask], [1] * len(values)), numbered=True)

    def of_class(self, label: int) -> tuple[Instances, list[int]]:
        """Return the nodes of one class, numbered from 1 on, and their numbers here."""
        numbers = [n for n, own in enumerate(self.classes, 1) if own == label]
        if len(numbers) == self.count:
            return self, numbers
        again = np.zeros(self.count + 1, np.int32)
        again[numbers] = np.arange(1, len(numbers) + 1)
        own = (label,) * len(numbers)
        return replace(self, labels=again[self.labels], classes=own), numbers

    def cut(self, box: Box) -> Instances:
        """Return the nodes in a box that holds all of them."""
        return replace(self, labels=self.labels[box])

    @classmethod
    def _ranked(cls, labels: np.ndarray, classes: list[int]) -> Instances:
        """Number the largest first, in place."""
        if not classes:
            return cls(labels, ())
        flat = labels.ravel()
        inside = np.flatnonzero(flat > 0)  # of booleans, which is many times faster
        numbers = flat[inside]
        sizes = np.bincount(numbers, minlength=len(classes) + 1)[1:]
        order = np.argsort(-sizes, kind="stable")
        rank = np.zeros(len(classes) + 1, np.int32)
        rank[order + 1] = np.arange(1, len(classes) + 1)
        flat[inside] = rank[numbers]
        return cls(labels, tuple(classes[index] for index in order))

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.classes)

    @cached_property
    def voxels(self) -> tuple[np.ndarray, np.ndarray]:
        """The voxels of all nodes, as indices of the flat array, and the node of each."""
        flat = self.labels.ravel()
        inside = np.flatnonzero(flat > 0)
        return inside, flat[inside]

    @cached_property
    def sizes(self) -> np.ndarray:
        """How many voxels each has."""
        return np.bincount(self.voxels[1], minlength=self.count + 1)[1:]

    @cached_property
    def boxes(self) -> list[Box]:
        """The box of each."""
        return ndimage.find_objects(self.labels, max_label=self.count)


def values_of(mask: np.ndarray) -> list[int]:
    """Return the classes in a mask, in order, without background and unknown."""
    inside = mask[mask > 0]
    return [int(v) for v in np.unique(inside) if v != IGNORE]


def foreground_box(mask: np.ndarray) -> Box:
    """Return the smallest box around what is not 0; one voxel if there is nothing."""
    sides: list[slice] = []
    for axis in range(3):
        # Each cut makes the next look shorter.
        near = mask[tuple(sides)]
        along = np.flatnonzero(near.any(tuple(a for a in range(3) if a != axis)))
        if not along.size:
            return slice(0, 1), slice(0, 1), slice(0, 1)
        sides.append(slice(int(along[0]), int(along[-1]) + 1))
    return sides[0], sides[1], sides[2]
