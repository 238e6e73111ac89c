"""Apply an operating point: from probabilities to a mask, and from a mask to its components."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from scipy import ndimage

from hilum.core.connected_components import components
from hilum.core.geometry import Grid
from hilum.core.modality import modality
from hilum.datasets.io.boxes import box_of
from hilum.datasets.store.case_store import PreparedCase, StoredCase
from hilum.evaluation.metrics.instances import values_of
from hilum.evaluation.metrics.uptake_of_node import highest_uptake

from ..predictor import Predictor
from .point import ARGMAX, OperatingPoint
from .regions import Regions

Pet = tuple[np.ndarray, Grid]
"""SUV `[D, H, W]`, and where they lie."""


def tempered(probability: np.ndarray, temperature: float, overlapping: bool = False) -> np.ndarray:
    """Return probabilities `[classes, ...]` at a temperature: p^(1/T), summing to 1 again.

    Those of regions each sum to 1 with what is not of the region.
    """
    if temperature == 1:
        return probability
    if overlapping:
        power = np.float32(1 / temperature)
        each = probability[1:] ** power
        each = each / np.maximum(each + (1 - probability[1:]) ** power, 1e-30)
        return np.concatenate([1 - each.max(0, keepdims=True), each])
    found = probability ** np.float32(1 / temperature)
    return found / np.maximum(found.sum(0, keepdims=True), 1e-30)


def decide(
    foreground: Iterable[np.ndarray],
    point: OperatingPoint = ARGMAX,
    background: np.ndarray | None = None,
    regions: Regions | None = None,
) -> np.ndarray:
    """Return the class of each voxel, before components are looked at.

    Args:
        foreground: Probability of each class but the background, one `[D, H, W]` after the other,
            so that a caller need not hold them all.
        point: Thresholds; without any the most probable class wins, the background on a tie.
        background: Its probability; without it what is left of 1.
        regions: What the classes are, if they may overlap: each is above its threshold, or 0.5.

    Returns:
        uint8 `[D, H, W]`.
    """
    if regions is not None:
        limits = point.thresholds or (0.5,) * len(regions.order)
        pairs = zip(foreground, limits, strict=True)
        return regions.write(one > np.float32(limit) for one, limit in pairs)
    mask = best = limit = None
    for value, one in enumerate(foreground, 1):
        score = one / np.float32(point.thresholds[value - 1]) if point.thresholds else one
        if mask is None or best is None or limit is None:
            mask = np.zeros(one.shape, np.uint8)
            best = np.zeros(one.shape, np.float32)
            limit = np.ones(one.shape, np.float32) if background is None else background
        np.putmask(mask, score > best, value)
        np.maximum(best, score, out=best)
        if background is None and not point.thresholds:
            limit = limit - one
    if mask is None or best is None or limit is None:
        raise ValueError("a mask needs a class")
    mask[best <= (np.float32(1) if point.thresholds else limit)] = 0
    return mask


def clean(
    mask: np.ndarray,
    grid: Grid,
    point: OperatingPoint,
    pet: Pet | None = None,
    regions: Regions | None = None,
) -> int:
    """Fill holes and drop components of a mask, in place; work is done in the box around it.

    Components of a region are those of its union; what is left is written again in their order.

    Args:
        mask: Whole numbers `[D, H, W]`.
        grid: Where it lies.
        point: What to drop.
        pet: For the floor. A component that lies where there is no PET is kept by it.
        regions: What its values make up, if its classes overlap.

    Returns:
        How many components were dropped.
    """
    if not point.filters or not mask.any():
        return 0
    if regions is not None:
        each = [regions.one(mask, number) for number in range(1, 1 + len(regions.order))]
        dropped = sum(clean(one, grid, point, pet) for one in each)
        mask[...] = regions.write(one > 0 for one in each)
        return dropped
    start, stop = box_of(mask > 0)
    near = mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    dropped = 0
    for value in values_of(near):
        own = near == value
        if point.fill_holes:
            holes = ndimage.binary_fill_holes(own) & (near == 0)
            near[holes] = value
            own |= holes
        labels, count = components(own)
        there = np.flatnonzero(own)
        numbers = labels.ravel()[there]
        sizes = np.bincount(numbers, minlength=count + 1)
        keep = _kept(labels, sizes, grid, start, point, pet)
        dropped += int(np.count_nonzero(~keep[1:]))
        near[np.unravel_index(there[~keep[numbers]], near.shape)] = 0
    return dropped


def _kept(
    labels: np.ndarray,
    sizes: np.ndarray,
    grid: Grid,
    start: Sequence[int],
    point: OperatingPoint,
    pet: Pet | None,
) -> np.ndarray:
    """Return by number whether a component is kept; number 0 is."""
    # A volume of exactly the least or the largest is kept, whatever rounding did.
    keep = sizes * grid.voxel_ml >= point.min_volume_ml * (1 - 1e-9)
    keep[0] = True
    if point.suv_floor is not None and not keep.all():
        boxes = ndimage.find_objects(labels)
        for number in np.flatnonzero(~keep).tolist():
            box = boxes[number - 1]
            inside = labels[box] == number
            place = tuple(
                slice(one.start + first, one.stop + first)
                for one, first in zip(box, start, strict=True)
            )
            top = None if pet is None else highest_uptake(inside, place, grid, *pet)  # pyright: ignore[reportArgumentType]
            keep[number] = top is None or top >= point.suv_floor
    if point.max_volume_ml is not None:
        keep[1:] &= sizes[1:] * grid.voxel_ml <= point.max_volume_ml * (1 + 1e-9)
    if point.at_most is not None:
        left = np.flatnonzero(keep[1:]) + 1
        order = np.argsort(-sizes[left], kind="stable")
        keep[left[order[point.at_most :]]] = False
    return keep


def pet_of(case: StoredCase | PreparedCase, names: Sequence[str] | None = None) -> Pet | None:
    """Return the PET of a prepared case that a prediction may look at, if it has one.

    Its SUV are those of the prepared grid, on which floors are chosen: resampling lowers an
    extreme a little, in both alike.

    Args:
        case: Where it is.
        names: Modalities that the prediction uses; all if not given.
    """
    for row, name in enumerate(case.modalities):
        if modality(name).unit == "SUV" and (names is None or name in names):
            return np.asarray(case.images[row]), case.grid
    return None


def mask_of(
    probability: np.ndarray,
    case: StoredCase | PreparedCase,
    point: OperatingPoint,
    names: Sequence[str] | None = None,
    regions: Regions | None = None,
) -> np.ndarray:
    """Return the mask of a prepared case at a point.

    Args:
        probability: `[classes, D, H, W]` of `predict_case`, the temperature in it.
        case: That it belongs to.
        point: The operating point.
        names: Modalities that the prediction used.
        regions: What the classes are, if they may overlap.
    """
    mask = decide(probability[1:], point, probability[0], regions)
    if point.filters:
        clean(mask, case.grid, point, pet_of(case, names), regions)
    return mask


@contextmanager
def operating_at(model: Predictor, point: OperatingPoint | None) -> Iterator[None]:
    """Let a segmenter work at another point for a while; `None` leaves it at its own."""
    before = model.config
    if point is not None:
        model.config = before.model_copy(update={"operating_point": point})
    try:
        yield
    finally:
        model.config = before
