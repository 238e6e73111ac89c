"""Regions: unions of a label's values that may overlap, each decided by itself.

A mask holds one number per voxel all the same, as nnU-Net writes it: the regions' numbers one after
the other, later ones over earlier ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hilum.core.errors import DataError
from hilum.core.files import read_json
from hilum.core.types import IGNORE


@dataclass(frozen=True)
class Regions:
    """Named unions of values of a label, in the order of the heads.

    Attributes:
        names: Of the regions.
        values: Of the label, by region.
        order: Value that each region writes into a mask, the first region first
            (`regions_class_order` of nnU-Net).
    """

    names: tuple[str, ...]
    values: tuple[tuple[int, ...], ...]
    order: tuple[int, ...]

    @classmethod
    def of(cls, regions: Mapping[str, Sequence[int]], order: Sequence[int] = ()) -> Regions:
        """Return checked regions; without an order each writes the value that no later one has.

        Raises:
            ValueError: If a region is empty or like another, or an order does not lead back to it.
        """
        names = tuple(regions)
        values = tuple(tuple(sorted(set(own))) for own in regions.values())
        for name, own in zip(names, values, strict=True):
            if not own or not all(0 < value < IGNORE for value in own):
                raise ValueError(f"region {name} must have values from 1 to {IGNORE - 1}: {own}")
        if len(set(values)) < len(values):
            raise ValueError("regions must differ")
        found = tuple(order)
        if not found:
            own_values = []
            for place, own in enumerate(values):
                later = {value for more in values[place + 1 :] for value in more}
                alone = [value for value in own if value not in later]
                if not alone:
                    raise ValueError(
                        f"region {names[place]} has no value that later regions lack: name larger "
                        "regions first, or give regions_class_order"
                    )
                own_values.append(alone[0])
            found = tuple(own_values)
        if len(found) != len(values):
            raise ValueError(f"regions_class_order must have {len(values)} values: {found}")
        for name, own, value in zip(names, values, found, strict=True):
            if value not in own:
                raise ValueError(f"region {name} must write one of its values {own}: {value}")
        return cls(names, values, found)

    def membership(self) -> np.ndarray:
        """Return of each value of a label whether it is in a region, float32 `[256, 1 + regions]`.

        The first column, the background's, is 1 where no region is.
        """
        table = np.zeros((IGNORE + 1, 1 + len(self.values)), np.float32)
        for column, own in enumerate(self.values, 1):
            table[list(own), column] = 1
        table[:, 0] = 1 - table[:, 1:].max(1)
        return table

    def looked_for(self, annotated: Sequence[int]) -> tuple[int, ...]:
        """Return the numbers of the regions that a label says all of: each value was looked for.

        As of classes: empty if it says all of every region; 0 alone if of none.

        Args:
            annotated: Values of the label that were looked for; empty: all.
        """
        seen = set(annotated)
        found = [n for n, own in enumerate(self.values, 1) if not seen or seen >= set(own)]
        return () if len(found) == len(self.values) else tuple(found) or (0,)

    def write(self, masks: Iterable[np.ndarray]) -> np.ndarray:
        """Return the mask uint8 of regions, booleans `[D, H, W]` each, in nnU-Net's manner."""
        found: np.ndarray | None = None
        for value, mask in zip(self.order, masks, strict=True):
            found = np.zeros(mask.shape, np.uint8) if found is None else found
            found[mask] = value
        if found is None:
            raise ValueError("a mask needs a region")
        return found

    def one(self, mask: np.ndarray, number: int) -> np.ndarray:
        """Return a region of a mask or label as its class 1; 255 stays unknown.

        Args:
            mask: Whole numbers up to 255.
            number: Of the region, from 1 on, as its head.
        """
        table = np.zeros(IGNORE + 1, np.uint8)
        table[list(self.values[number - 1])], table[IGNORE] = 1, IGNORE
        return table[mask]


def regions_of_report(file: str | Path) -> Regions | None:
    """Return the regions of which a report of `hilum predict` says that its mask has them.

    Returns:
        `None` if there is no report, or the mask has classes.

    Raises:
        DataError: If they make no sense.
    """
    about = read_json(file) if Path(file).is_file() else {}
    named = about.get("regions") if isinstance(about, dict) else None
    if not named:
        return None
    try:
        return Regions.of(named, about.get("regions_class_order", ()))
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(
            "the regions of a report must be values of its mask",
            file=file,
            found=str(error),
            remedy="predict the case again",
        ) from None


def looked_for_in(annotated: Sequence[int], regions: Regions | None) -> tuple[int, ...]:
    """Return the numbers of the outputs that were looked for: of classes, or of regions."""
    return tuple(annotated) if regions is None else regions.looked_for(annotated)


def in_view(mask: np.ndarray, regions: Regions | None, number: int) -> tuple[np.ndarray, int]:
    """Return the mask and the value in it that stand for a class, which may be a region."""
    return (mask, number) if regions is None else (regions.one(mask, number), 1)
