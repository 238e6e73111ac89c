"""Both masks of a case, voxel by voxel."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.core.modality import modality
from hilum.core.notes import Note
from hilum.core.types import IGNORE
from hilum.datasets.io.lattice import place_mask
from hilum.datasets.io.mask_values import refuse_sentinels
from hilum.datasets.io.masks import read_mask
from hilum.datasets.io.nifti import Volume, read_volume
from hilum.datasets.io.resampling import resample
from hilum.datasets.prepare.body import find_body
from hilum.datasets.prepare.partial_labels import anatomy_on, with_unknown
from hilum.datasets.raters.reading import label_file, read_case_label, read_raters
from hilum.evaluation.settings import EvaluationSettings

from .unannotated import of_annotated


@dataclass(frozen=True)
class Aligned:
    """Both masks of a case, voxel by voxel, with canonical axes.

    Attributes:
        prediction: Whole numbers `[D, H, W]`, 0 where the reference is unknown.
        reference: The same; 255 is unknown.
        whole: The prediction with what it says where the reference is unknown.
        grid: Of all three.
        stored: Of the file of the reference.
        notes: What was done to bring them together.
        raters: What each rater said, by name, if the case has several raters' labels.
    """

    prediction: np.ndarray
    reference: np.ndarray
    whole: np.ndarray
    grid: Grid
    stored: Grid
    notes: tuple[Note, ...]
    raters: dict[str, np.ndarray] = field(default_factory=dict)


def aligned(case: Case, file: Path, settings: EvaluationSettings | None = None) -> Aligned:
    """Return the mask and the label of a case on one grid.

    Args:
        case: With a label.
        file: The mask.
        settings: Which masks number their nodes.

    Raises:
        DataError: If the mask lies on another lattice, or values of a mask cannot be meant.
    """
    how = "staple" if settings is None else settings.raters
    reference, drawn = read_case_label(case, how), read_mask(file, case.id)
    assert reference is not None
    refuse_sentinels(reference.array, case.id, label_file(case))
    refuse_sentinels(drawn.array, case.id, file, "the prediction")
    _check_decided(case, file, drawn.array)
    if settings is not None and settings.instances in ("both", "reference"):
        _check_numbers(case, reference.array)
    prediction, notes = place_mask(
        drawn, reference.grid, case=case.id, file=file, what="the prediction", scan="the label"
    )
    grid, axes, flips = reference.grid.canonical()
    backwards = tuple(axis for axis in range(3) if flips[axis])
    whole, truth = (np.flip(x.array.transpose(axes), backwards) for x in (prediction, reference))
    raters = _raters(case, reference.grid)
    drawn_by = {name: np.flip(x.transpose(axes), backwards) for name, x in raters.items()}
    if case.partial:
        truth = _partial(case, truth, grid)
    if settings is None or settings.instances == "none":
        whole = of_annotated(whole, case.annotated)
    known = truth != IGNORE
    # What is unknown counts on neither side: not as voxels, not as nodes, not as uptake.
    ours = whole if known.all() else np.where(known, whole, 0)
    return Aligned(ours, truth, whole, grid, reference.grid, tuple(notes), drawn_by)


def _raters(case: Case, grid: Grid) -> dict[str, np.ndarray]:
    """Return what each rater said on the grid of the reference."""
    raters = read_raters(case)
    if raters is None:
        return {}
    return {
        name: place_mask(
            Volume(mask, raters.volume.grid), grid, case=case.id, file=case.raters[name],
            what=f"the label of {name}", scan="the label",
        )[0].array
        for name, mask in zip(raters.names, raters.masks, strict=True)
    }  # fmt: skip


def _partial(case: Case, truth: np.ndarray, grid: Grid) -> np.ndarray:
    """Return a label whose unmarked voxels are unknown where there may be a node, as `prepare`."""
    volumes = {name: read_volume(scan, case.id) for name, scan in case.volumes.items()}
    body = find_body(volumes, grid).on(grid) if volumes else np.ones(grid.shape, bool)
    ct = None
    if "ct" in volumes:
        found = volumes["ct"]
        ct = resample(found.array, found.grid, grid, fill=modality("ct").fill)
    return with_unknown(truth, body, ct, anatomy_on(case, grid))


def _check_numbers(case: Case, mask: np.ndarray) -> None:
    """Refuse nodes that are numbered past the value that means unknown."""
    if mask.max(initial=0) > IGNORE or {IGNORE - 1, IGNORE} <= set(np.unique(mask).tolist()):
        raise DataError(
            f"a reference must number its nodes from 1 to {IGNORE - 1}; {IGNORE} means unknown",
            case=case.id,
            file=label_file(case),
            found=int(mask.max()),
            remedy="number the nodes without gaps",
        )


def _check_decided(case: Case, file: Path, mask: np.ndarray) -> None:
    if (mask == IGNORE).any():
        raise DataError(
            f"a prediction must say of each voxel what it is; {IGNORE} means unknown",
            case=case.id,
            file=file,
            found=f"{IGNORE} in {np.count_nonzero(mask == IGNORE)} voxels",
            remedy="write classes as 1, 2, ... and the background as 0",
        )
