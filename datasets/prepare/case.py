"""Bring one raw case to one grid, in memory; and a mask on it back to the original file's grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Literal

import numpy as np
from pydantic import Field

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.files import hash_of_file
from hilum.core.geometry import Grid, Triple, lattice_match
from hilum.core.modality import modality
from hilum.core.notes import Note
from hilum.core.settings import Settings

from ..io.boxes import box_of
from ..io.content import hash_of_scan
from ..io.lattice import place_mask, scan_of
from ..io.nifti import Volume, read_grid, read_volume
from ..io.nifti_header import notes_on_header
from ..io.resampling import field_of_view, resample, slabs
from ..io.scratch import empty
from ..raters.fusing import Fusion
from ..raters.reading import label_file
from ..store.case_store import PreparedCase, Storage
from .acceptance import Limits
from .body import Body, find_body
from .checks import (
    NOISE,
    STORED,
    Clipped,
    check_classes,
    check_overlap,
    check_values,
    clipped_notes,
    label_notes,
)
from .partial_labels import anatomy_on, check_anatomy, with_unknown
from .several_raters import label_and_raters, on_crop


class PrepareSettings(Settings):
    """How raw cases become prepared ones."""

    spacing: Triple | None = Field(
        None, description="mm along depth, height, width; empty: the reference's own"
    )
    modalities: tuple[str, ...] | None = Field(
        None, description="modalities to keep; empty: all of the manifest"
    )
    reference: str | None = Field(
        None,
        description="modality whose grid counts, but that of a label comes first; empty: ct, else "
        "the first",
    )
    margin_mm: float = Field(10.0, ge=0, description="margin around the body and the label, mm")
    order: Literal[1, 3] = Field(
        1, description="interpolation of images: 1 linear, 3 cubic B-spline (sharper, may ring)"
    )
    body_crop: bool = Field(True, description="crop to the body and the label")
    least_overlap: float = Field(
        0.1, ge=0, le=1, description="minimum overlap with the reference, fraction of either scan"
    )
    registration: Literal["none", "rigid"] = Field(
        "none", description="registration of the other modalities to the reference"
    )
    registration_limit: float = Field(
        25.0, gt=0, description="maximum translation of a registration, mm"
    )
    registration_degrees: float = Field(
        10.0, gt=0, description="maximum rotation of a registration, degrees"
    )
    registration_gain: float = Field(
        0.03,
        ge=0,
        description="minimum gain in correlation of the bodies' outlines for a registration, "
        "compared with small random translations and rotations, no unit",
    )
    raters: Fusion = Field(
        "staple",
        description="how the labels of several raters (columns label_<rater>) become one: staple, "
        "majority, or mean (training learns soft labels; all else reads the majority)",
    )
    storage: Storage = Field(
        "npy",
        description="npy: memory maps; b2nd: compressed by Blosc2, for slow or shared disks",
    )

    @property
    def limits(self) -> Limits:
        """What a plausible registration is."""
        return Limits(self.registration_limit, self.registration_degrees, self.registration_gain)


def prepare_case(case: Case, settings: PrepareSettings, *, with_label: bool = True) -> PreparedCase:
    """Read, check, resample and crop one case.

    The label is never resampled from another grid than the reference's: the modality that it was
    drawn on becomes the reference. Scans are resampled slab by slab inside the crop only, and
    large arrays lie in temporary files: what is kept in memory has a bound.

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
    label, raters = label_and_raters(case, settings.raters) if with_label else (None, None)
    volumes = {name: read_volume(case.volumes[name], case.id) for name in wanted}
    scans = {name: hash_of_scan(volume) for name, volume in volumes.items()}
    name = _reference(case, settings, {m: v.grid for m, v in volumes.items()}, label)
    files = [case.volumes[name] for name in wanted]
    files += [file for file in (case.label, *case.raters.values()) if file and with_label]
    notes: list[Note] = [note for file in files for note in notes_on_header(file, case.id)]
    for modality_name, volume in volumes.items():
        notes.extend(check_values(case, modality_name, volume))
        least = settings.least_overlap
        check_overlap(case, modality_name, volume.grid, volumes[name].grid, least)
    source = volumes[name].grid
    check_anatomy(case, source)
    if label is not None:
        label, told = place_mask(label, source, case=case.id, file=label_file(case))
        notes.extend([*told, *(raters.notes if raters else ())])
    moved: dict[str, list[list[float]]] = {}
    if settings.registration == "rigid":
        from .registration import register_all

        volumes, moved, remarks = register_all(volumes, name, settings.limits, case.id)
        notes.extend(remarks)
    target = _target(source, settings.spacing)
    body = find_body(volumes, target)
    crop = _crop(body, label, target, settings)
    factors = {m: _factor(m, v, body) for m, v in volumes.items()}
    mask = None
    if label is not None:
        check_classes(case, label)
        mask = resample(label.array.astype(np.uint8, copy=False), label.grid, crop, order=0)
        notes.extend(label_notes(case.id, label, mask, crop))
    images, clipped = _images(volumes, crop, factors, settings.order)
    notes.extend(clipped_notes(case.id, clipped))
    regions = _regions(volumes, crop, body)
    organs = anatomy_on(case, crop) if mask is not None else None
    if mask is not None and case.partial:
        ct = images[list(volumes).index("ct")] if "ct" in volumes else None
        mask = with_unknown(mask, (regions & 1).astype(bool), ct, organs)
    drawn = None
    if raters is not None and mask is not None:
        drawn = on_crop(case, raters, source, crop, mask, settings.raters == "mean")
    return PreparedCase(
        id=case.id,
        patient=case.patient,
        site=case.site,
        split=case.split,
        images=images,
        modalities=tuple(volumes),
        regions=regions,
        label=mask,
        grid=crop,
        source_grid=source,
        factors=factors,
        inputs={name: hash_of_file(file) for name, file in case.files.items()},
        scans=scans,
        partial=case.partial,
        annotated=case.annotated,
        notes=tuple(notes),
        moved=moved,
        anatomy=organs,
        raters=drawn,
    )


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


def _images(
    volumes: Mapping[str, Volume], crop: Grid, factors: Mapping[str, float], order: Literal[1, 3]
) -> tuple[np.ndarray, dict[str, Clipped]]:
    """Return float16 `[M, D, H, W]` in physical units (a.u. in units of their factor).

    Beside it, what was clipped of each modality.
    """
    images = empty((len(volumes), *crop.shape), np.float16)
    clipped: dict[str, Clipped] = {}
    for channel, (name, volume) in enumerate(volumes.items()):
        rule, factor = modality(name), factors[name]
        least, most = STORED[rule.unit]
        bounds = least - NOISE.get(rule.unit, 0.0), most
        for rows, slab in slabs(crop):
            part = resample(volume.array, volume.grid, slab, order=order, fill=rule.fill * factor)
            part = part / np.float32(factor)
            clipped[name] = clipped.get(name, Clipped()).plus(part, *bounds)
            images[channel, rows] = part.clip(least, most)
    return images, clipped


def _regions(volumes: Mapping[str, Volume], crop: Grid, body: Body) -> np.ndarray:
    regions = body.on(crop).astype(np.uint8)
    for bit, volume in enumerate(volumes.values(), 1):
        regions |= field_of_view(volume.grid, crop).astype(np.uint8) << bit
    return regions


def _reference(
    case: Case, settings: PrepareSettings, grids: dict[str, Grid], label: Volume | None
) -> str:
    name = settings.reference or ("ct" if "ct" in grids else next(iter(grids)))
    if label is not None:
        others = {m: read_grid(f, case.id) for m, f in case.volumes.items() if m not in grids}
        every = {**grids, **others}
        drawn_on = scan_of(label.grid, every, case=case.id, file=label_file(case))
        asked = settings.reference
        if asked in grids and lattice_match(grids[asked], label.grid).same_lattice:
            return asked
        name = drawn_on
    if name not in grids:
        raise DataError(
            f"the case must have {name}, whose grid is the reference",
            case=case.id,
            found=", ".join(grids),
            remedy="set reference= to another modality, or keep this one",
        )
    return name


def _factor(name: str, volume: Volume, body: Body) -> float:
    """Return what to divide by: 1 for physical units, the body's 99th percentile for a.u."""
    if modality(name).unit != "a.u.":
        return 1.0
    # Every voxel of a small scan, every n-th along each axis of a large one.
    step = int(np.ceil((volume.array.size / 2**24) ** (1 / 3)))
    array = volume.array[::step, ::step, ::step]
    coarse = Grid(array.shape, volume.grid.affine @ np.diag([step, step, step, 1]))
    inside = array[resample(body.mask.astype(np.uint8), body.grid, coarse, order=0) > 0]
    high = float(np.percentile(inside if inside.size else array, 99))
    return high if high > 0 else 1.0


def _target(grid: Grid, spacing: Sequence[float] | None) -> Grid:
    canonical, _, _ = grid.canonical()
    return (
        canonical
        if spacing is None
        else canonical.with_spacing((spacing[0], spacing[1], spacing[2]))
    )


def _crop(body: Body, label: Volume | None, target: Grid, settings: PrepareSettings) -> Grid:
    """Return the part of the target that holds the body with its margin, and the label."""
    if not settings.body_crop:
        return target
    boxes = [body.box(target)]
    if label is not None and label.array.any():
        corners = np.array(list(product(*zip(*box_of(label.array > 0), strict=True))), float)
        # Faces of voxels lie half a voxel before their index; a box ends before its last index.
        places = target.to_index(label.grid.to_world(corners - 0.5))
        boxes.append(
            (
                [int(n) for n in np.floor(places.min(0) + 0.5)],
                [int(n) for n in np.ceil(places.max(0) + 0.5)],
            )
        )
    margin = [int(np.ceil(settings.margin_mm / s)) for s in target.spacing]
    low = np.min([box[0] for box in boxes], 0) - margin
    high = np.max([box[1] for box in boxes], 0) + margin
    start = [int(n) for n in np.clip(low, 0, target.shape)]
    d, h, w = (int(n) for n in np.clip(high, 0, target.shape) - start)
    return target.crop((start[0], start[1], start[2]), (d, h, w))
