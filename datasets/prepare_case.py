"""Bring one raw case to one grid, in memory; and a mask on it back to the original file's grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from ..core.case import Case
from ..core.components import components
from ..core.errors import DataError
from ..core.files import hash_of_file
from ..core.geometry import Grid, Triple
from ..core.modality import modality
from ..core.settings import Settings
from ..core.types import IGNORE
from .body import body_mask
from .boxes import box_of
from .nifti import Volume, read_grid, read_label, read_volume
from .resampling import field_of_view, resample
from .store import PreparedCase

MOST_CLASSES = 20
STORED = {"HU": (-1024.0, 3071.0), "SUV": (0.0, 1000.0), "a.u.": (-100.0, 100.0)}
"""What float16 keeps well, and what no patient exceeds."""


class PrepareSettings(Settings):
    """How raw cases become prepared ones."""

    spacing: Triple | None = Field(
        None, description="mm along depth, height, width; empty: the reference's own"
    )
    modalities: tuple[str, ...] | None = Field(
        None, description="modalities to keep; empty: all of the manifest"
    )
    reference: str | None = Field(
        None, description="modality whose grid counts; empty: the label's, else ct, else the first"
    )
    margin_mm: float = Field(10.0, ge=0, description="air kept around the body, mm")
    order: Literal[1, 3] = Field(
        1, description="interpolation of images: 1 linear, 3 cubic B-spline (sharper, may ring)"
    )
    body_crop: bool = Field(True, description="crop to the body")
    least_overlap: float = Field(
        0.1, ge=0, le=1, description="least share of either scan that lies inside the other"
    )
    registration: Literal["none", "rigid"] = Field(
        "none", description="move the other modalities onto the reference first"
    )
    registration_limit: float = Field(
        25.0, gt=0, description="leave a scan in its place if it would move by more, mm"
    )


def prepare_case(case: Case, settings: PrepareSettings, *, with_label: bool = True) -> PreparedCase:
    """Read, check, resample and crop one case.

    The label is never resampled from another grid than the reference's: the modality that it was
    drawn on becomes the reference.

    Raises:
        DataError: With case, file, rule and remedy, if anything is wrong.
    """
    wanted = [m for m in settings.modalities or case.volumes if m in case.volumes]
    if not wanted:
        raise DataError(
            "the case must have a wanted modality",
            case=case.id,
            found=", ".join(case.volumes),
            remedy=f"the settings ask for {', '.join(settings.modalities or ())}",
        )
    label = read_label(case.label, case.id) if case.label and with_label else None
    volumes = {name: read_volume(case.volumes[name], case.id) for name in wanted}
    name = _reference(case, settings, {m: v.grid for m, v in volumes.items()}, label)
    factors = {m: _factor(m, v, volumes) for m, v in volumes.items()}
    for modality_name, volume in volumes.items():
        _check_values(case, modality_name, volume)
        _check_overlap(case, modality_name, volume.grid, volumes[name].grid, settings)
    moved: dict[str, list[list[float]]] = {}
    remarks: tuple[str, ...] = ()
    if settings.registration == "rigid":
        from .registration import register_all

        volumes, moved, remarks = register_all(volumes, name, settings.registration_limit)
    target = _target(volumes[name].grid, settings.spacing)
    images = {
        m: resample(
            v.array, v.grid, target, order=settings.order, fill=modality(m).fill * factors[m]
        )
        / factors[m]
        for m, v in volumes.items()
    }
    body = body_mask(images, target)
    mask = _label_on(label, target, case)
    keep = body | (mask > 0) if mask is not None else body
    start, stop = _crop_box(keep, target, settings)
    notes = (*remarks, *_label_notes(label, mask, target))
    box = (start, stop)
    prepared = _assemble(case, name, volumes, images, body, mask, target, factors, box, notes)
    return replace(prepared, moved=moved)


def restore(mask: np.ndarray, prepared: PreparedCase) -> np.ndarray:
    """Return a mask of the prepared grid on the original grid of the reference file.

    Args:
        mask: Whole numbers `[D, H, W]` on `prepared.grid`.
        prepared: The case that it belongs to.
    """
    return resample(mask, prepared.grid, prepared.source_grid, order=0)


def restore_probability(probability: np.ndarray, prepared: PreparedCase) -> np.ndarray:
    """Return a probability map on the original grid, linearly, 0 outside of the crop."""
    return resample(probability, prepared.grid, prepared.source_grid, antialias=False)


def _assemble(
    case: Case,
    reference: str,
    volumes: dict[str, Volume],
    images: dict[str, np.ndarray],
    body: np.ndarray,
    mask: np.ndarray | None,
    target: Grid,
    factors: dict[str, float],
    box: tuple[list[int], list[int]],
    notes: tuple[str, ...],
) -> PreparedCase:
    crop = tuple(slice(a, b) for a, b in zip(*box, strict=True))
    d, h, w = (b - a for a, b in zip(*box, strict=True))
    names = tuple(images)
    stored = np.empty((len(names), d, h, w), np.float16)
    regions = body[crop].astype(np.uint8)
    for channel, name in enumerate(names):
        low, high = STORED[modality(name).unit]
        stored[channel] = images[name][crop].clip(low, high)
        inside = field_of_view(volumes[name].grid, target)[crop]
        regions |= inside.astype(np.uint8) << (channel + 1)
    files: dict[str, Path] = (
        {**case.volumes}
        if case.label is None
        else {
            **case.volumes,
            "label": case.label,
        }
    )
    return PreparedCase(
        id=case.id,
        patient=case.patient,
        site=case.site,
        split=case.split,
        images=stored,
        modalities=names,
        regions=regions,
        label=None if mask is None else np.ascontiguousarray(mask[crop]),
        grid=target.crop((box[0][0], box[0][1], box[0][2]), (d, h, w)),
        source_grid=volumes[reference].grid,
        factors=factors,
        inputs={name: hash_of_file(file) for name, file in files.items()},
        partial=case.partial,
        notes=notes,
    )


def label_modality(case: Case, grids: dict[str, Grid], label: Grid) -> str:
    """Return the modality whose grid the label has."""
    fits = [name for name, grid in grids.items() if grid.same_as(label)]
    if not fits:
        shapes = ", ".join(f"{name} {grid.shape}" for name, grid in grids.items())
        raise DataError(
            "the label must lie on the grid of one of the modalities",
            case=case.id,
            file=case.label,
            found=f"{label.shape} beside {shapes}",
            remedy="export the mask on the grid of the scan that it was drawn on",
        )
    return "ct" if "ct" in fits else fits[0]


def _reference(
    case: Case, settings: PrepareSettings, grids: dict[str, Grid], label: Volume | None
) -> str:
    name = settings.reference or ("ct" if "ct" in grids else next(iter(grids)))
    if label is not None:
        others = {m: read_grid(f, case.id) for m, f in case.volumes.items() if m not in grids}
        drawn_on = label_modality(case, {**grids, **others}, label.grid)
        if settings.reference in grids and grids[settings.reference].same_as(label.grid):
            return settings.reference
        name = drawn_on
    if name not in grids:
        raise DataError(
            f"the case must have {name}, whose grid is the reference",
            case=case.id,
            found=", ".join(grids),
            remedy="set reference= to another modality, or keep this one",
        )
    return name


def _factor(name: str, volume: Volume, volumes: dict[str, Volume]) -> float:
    """Return what to divide by: 1 for physical units, the body's 99th percentile for a.u."""
    if modality(name).unit != "a.u.":
        return 1.0
    array = volume.array
    inside = array[array > np.percentile(array, 50) * 0.1] if array.any() else array
    high = float(np.percentile(inside, 99)) if inside.size else 1.0
    return high if high > 0 else 1.0


def _check_values(case: Case, name: str, volume: Volume) -> None:
    rule = modality(name)
    low, high = float(volume.array.min()), float(volume.array.max())
    if rule.plausible[0] <= low and high <= rule.plausible[1] and low < high:
        return
    remedy = "export the scan again"
    if rule.unit == "SUV" and high > rule.plausible[1]:
        remedy = "this looks like Bq/ml: convert it to SUV (dose, decay, weight) before importing"
    raise DataError(
        f"{name} must be in {rule.unit}, between {rule.plausible[0]:g} and {rule.plausible[1]:g}",
        case=case.id,
        file=case.volumes[name],
        found=f"{low:.4g} to {high:.4g}",
        remedy=remedy,
    )


def _check_overlap(
    case: Case, name: str, grid: Grid, reference: Grid, settings: PrepareSettings
) -> None:
    # The larger of the two directions: a small scan wholly inside the reference is sound.
    share = max(reference.overlap(grid), grid.overlap(reference))
    if share < settings.least_overlap:
        raise DataError(
            f"{name} and the reference must overlap by at least {settings.least_overlap:.0%}",
            case=case.id,
            file=case.volumes[name],
            found=f"{share:.0%}",
            remedy="the scans are not of one study, or lost their position in the patient",
        )


def _target(grid: Grid, spacing: Sequence[float] | None) -> Grid:
    canonical, _, _ = grid.canonical()
    return (
        canonical
        if spacing is None
        else canonical.with_spacing((spacing[0], spacing[1], spacing[2]))
    )


def _label_on(label: Volume | None, target: Grid, case: Case) -> np.ndarray | None:
    if label is None:
        return None
    high = int(label.array.max(initial=0, where=label.array != IGNORE))
    if high > MOST_CLASSES:
        raise DataError(
            "label values must be 0, classes from 1 on, or 255 for unknown",
            case=case.id,
            file=case.label,
            found=high,
            remedy="map the values of the mask to classes",
        )
    return resample(label.array.astype(np.uint8), label.grid, target, order=0)


def _label_notes(label: Volume | None, mask: np.ndarray | None, target: Grid) -> tuple[str, ...]:
    """Say what became of the label's volume and nodes on the prepared grid."""
    if label is None or mask is None:
        return ()
    before, after = (
        float(((m > 0) & (m != IGNORE)).sum()) * g.voxel_ml
        for m, g in ((label.array, label.grid), (mask, target))
    )
    notes = []
    if before and abs(after / before - 1) > 0.05:
        notes.append(f"the label had {before:.2f} ml and has {after:.2f} ml at this spacing")
    had, has = (components((m > 0) & (m != IGNORE))[1] for m in (label.array, mask))
    if has < had:
        notes.append(f"the label had {had} components and has {has} at this spacing")
    return tuple(notes)


def _crop_box(
    keep: np.ndarray, grid: Grid, settings: PrepareSettings
) -> tuple[list[int], list[int]]:
    if not settings.body_crop:
        return [0, 0, 0], list(grid.shape)
    start, stop = box_of(keep)
    margin = [int(np.ceil(settings.margin_mm / s)) for s in grid.spacing]
    return (
        [max(a - m, 0) for a, m in zip(start, margin, strict=True)],
        [min(b + m, n) for b, m, n in zip(stop, margin, grid.shape, strict=True)],
    )
