"""Every metric of one case, with the work that they share done once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.core.settings import validate
from hilum.core.types import IGNORE

from ..settings import EvaluationSettings
from .detection import detection_metrics, volume_metrics
from .empty import EmptyRule, settled, state_of, value_of
from .instances import Instances, foreground_box
from .lesions import grid_diagonal, lesion_metrics
from .surface import Nearness, Surface, distances_of, nsd_key
from .table import others


def case_metrics(
    prediction: np.ndarray,
    reference: np.ndarray,
    grid: Grid,
    volumes: Mapping[str, np.ndarray] | None = None,
    label: int = 1,
    *,
    settings: EvaluationSettings | None = None,
    short_axes_mm: Sequence[float] | None = None,
    nodes: tuple[Instances, Instances] | None = None,
) -> dict[str, float]:
    """Return the metrics of `metrics.table.METRICS` for one case, and the sums that pooling needs.

    Voxels that are unknown in the reference (255) count in neither mask.

    Args:
        prediction: Whole numbers `[D, H, W]`.
        reference: The same.
        grid: Where both lie.
        volumes: Physical images on the grid; with `pet` the errors of TLG are added.
        label: The class that counts.
        settings: What counts as near, as found, and as empty; see `empty.EMPTY_RULES`.
        short_axes_mm: Of the reference's nodes of this class, the largest node first, if they are
            known.
        nodes: Of this class in both masks, without unknown voxels, if they are known: components
            otherwise.

    Raises:
        DataError: If the shapes differ.
    """
    if prediction.shape != reference.shape:
        raise DataError(
            "prediction and reference must have one shape",
            found=f"{prediction.shape} and {reference.shape}",
            remedy="resample the prediction to the grid of the reference",
        )
    settings = settings or validate(EvaluationSettings, {})
    tolerance_mm = settings.tolerance_mm
    known = reference != IGNORE
    p, g = (prediction == label) & known, (reference == label) & known
    ml = grid.voxel_ml
    box = foreground_box(p | g)
    near_p, near_g = p[box], g[box]
    both, volume, truth = (
        float(np.count_nonzero(x)) * ml for x in (near_p & near_g, near_p, near_g)
    )
    union = volume + truth - both
    numbers = {
        "dice": 2 * both / (volume + truth) if union else math.nan,
        "iou": both / union if union else math.nan,
        "intersection_ml": both,
        "volume_ml": volume,
        "reference_volume_ml": truth,
        "volume_error_ml": volume - truth,
    }
    lesions = (
        (nodes[0].cut(box), nodes[1].cut(box))
        if nodes is not None
        else (Instances.of(near_p), Instances.of(near_g))
    )
    surfaces = None
    if volume and truth:
        one, other = (Surface.of(own, grid.spacing) for own in lesions)
        there, back = (Nearness.of(*x, tolerance_mm) for x in ((one, other), (other, one)))
        surfaces = one, other, there, back
        mm, within = (there.mm, back.mm), (there.within, back.within)
        numbers |= distances_of(mm, within, (one.areas, other.areas), tolerance_mm)
    else:
        names = ("hd95_mm", "masd_mm", "assd_mm", nsd_key(tolerance_mm))
        numbers |= dict.fromkeys(names, math.nan)
    numbers |= lesion_metrics(near_p, near_g, grid, lesions, tolerance_mm, surfaces)
    numbers |= detection_metrics(
        near_p,
        near_g,
        grid,
        lesions,
        hit=settings.hit,
        hit_iou=settings.hit_iou,
        hit_mm=settings.hit_mm,
        short_axes_mm=short_axes_mm,
    )
    numbers |= volume_metrics(near_p, near_g, grid)
    if volumes and "pet" in volumes:
        pet = volumes["pet"]
        numbers["tlg_error"] = float(pet[p].sum(dtype=float) - pet[g].sum(dtype=float)) * ml
    state = state_of(bool(volume), bool(truth), not bool(known.all()))
    rules: dict[str, EmptyRule] = {}
    for name, (measure, rules[name]) in others().items():
        open_ = value_of(rules[name], state) == "measured"
        numbers[name] = float(measure(p, g, grid, volumes or {})) if open_ else math.nan
    return settled(numbers, state, grid_diagonal(grid), settings.both_empty, rules)
