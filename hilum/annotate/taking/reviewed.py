"""Read what a labeller made of a proposal, in whichever format, on the grid of the proposal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hilum.core.case import IGNORE
from hilum.core.errors import DataError, UserError
from hilum.core.geometry import Grid
from hilum.core.notes import Note
from hilum.datasets.io.lattice import place_mask
from hilum.datasets.io.mask_values import Values, with_values
from hilum.datasets.io.masks import read_mask
from hilum.datasets.io.nifti import ENDINGS as NIFTI
from hilum.datasets.io.nifti import Volume, read_label

from ..formats.slicer import COMPLETED, Segment, Segmentation, read_segmentation
from ..formats.slicer import ENDINGS as NRRD
from ..proposing.record import Proposal

DICOM = ".dcm"


@dataclass(frozen=True)
class Reviewed:
    """A corrected mask.

    Attributes:
        mask: uint8 `[D, H, W]` on the grid of the proposal; 255 where the file itself says unknown.
        unfinished: Booleans: segments that nobody has finished; their voxels are unknown.
        statuses: Of each segment by name, where the file has any.
        looked_at: Some segment is marked as completed: somebody reviewed it, changed or not.
        notes: What was done to the file's mask.
    """

    mask: np.ndarray
    unfinished: np.ndarray | None = None
    statuses: dict[str, str] = field(default_factory=dict)
    looked_at: bool = False
    notes: list[Note] = field(default_factory=list)


def read_reviewed(
    file: Path,
    proposal: Proposal,
    values: Values | None = None,
    segments: Mapping[str, int] | None = None,
) -> Reviewed:
    """Read a corrected mask and check it as labels are checked.

    Args:
        file: NIfTI, MetaImage, `.seg.nrrd`, `.nrrd` or DICOM SEG.
        proposal: Of the case that it belongs to.
        values: What values of a mask mean that are no class.
        segments: Class of segments by name, where their names do not say.

    Raises:
        DataError: If it lies elsewhere than the scan, holds values that are no class, or segments
            that could be of any class.
    """
    name = file.name.lower()
    if name.endswith(NRRD):
        found = read_segmentation(file, proposal.case)
        if found.empty:
            return Reviewed(np.zeros(proposal.grid.shape, np.uint8))
        if found.segments:
            return _of_segments(found, file, proposal, segments or {})
        return _of_values(_flat(found, file, proposal.case), found.grid, file, proposal, values)
    if name.endswith(DICOM):
        return _of_dicom(file, proposal, segments or {})
    nifti = name.endswith(NIFTI)
    try:
        volume = (
            read_label(file, proposal.case, values) if nifti else read_mask(file, proposal.case)
        )
    except DataError as error:
        if "--value" not in (error.remedy or ""):
            raise
        # What an importer would do about it is no way out here.
        raise DataError(
            error.rule,
            case=proposal.case,
            file=file,
            found=error.found,
            remedy="export the mask as whole numbers, never resampled; or say what a value means: "
            "--value VALUE=CLASS",
        ) from None
    return _of_values(volume.array, volume.grid, file, proposal, None if nifti else values)


def _of_values(
    array: np.ndarray, grid: Grid, file: Path, proposal: Proposal, values: Values | None
) -> Reviewed:
    """Return a mask whose values are classes."""
    array = with_values(array, values or {})
    known = {0, IGNORE, *range(1, len(proposal.names) + 1)}
    found = [int(value) for value in np.unique(array)]
    odd = [value for value in found if value not in known]
    if not odd and set(found) == {0, IGNORE}:
        odd = [IGNORE]
    if odd:
        classes = ", ".join(f"{n} {name}" for n, name in enumerate(proposal.names, 1))
        remedy = " ".join(f"--value {value}=1" for value in odd[:20])
        raise DataError(
            f"the values of a corrected mask must be classes: 0 background, {classes}",
            case=proposal.case,
            file=file,
            found=", ".join(map(str, odd[:20])) + (" alone" if odd == [IGNORE] else ""),
            remedy=f"say what they mean: {remedy}",
        )
    placed, notes = _placed(array.astype(np.uint8), grid, file, proposal)
    return Reviewed(placed, notes=notes)


def _of_segments(
    found: Segmentation, file: Path, proposal: Proposal, meanings: Mapping[str, int]
) -> Reviewed:
    """Return a mask of segments; what is not completed is unknown as soon as one has a status."""
    mask = np.zeros(found.layers.shape[1:], np.uint8)
    unfinished = np.zeros(mask.shape, bool)
    used = any(one.status in (COMPLETED, "flagged") for one in found.segments)
    for one in found.segments:
        value = _class_of(one.name, one.value, file, proposal, meanings)
        own = found.mask_of(one)
        _paint(mask, own, value, one.name, file, proposal)
        if used and one.status != COMPLETED:
            unfinished |= own
    placed, notes = _placed(mask, found.grid, file, proposal)
    waiting, _ = _placed(unfinished.astype(np.uint8), found.grid, file, proposal)
    return Reviewed(
        placed,
        waiting > 0 if used and waiting.any() else None,
        {_unique(one, found): one.status for one in found.segments},
        any(one.status == COMPLETED for one in found.segments),
        notes,
    )


def _of_dicom(file: Path, proposal: Proposal, meanings: Mapping[str, int]) -> Reviewed:
    """Return a mask of a DICOM SEG, whose frames are matched to slices by their place."""
    try:
        from pydicom import dcmread

        from hilum.datasets.dicom.segmentation import read_segments, segment_names
    except ImportError:
        raise UserError(
            "pydicom must be installed to read DICOM",
            file=file,
            remedy="pip install 'hilum[dicom]'",
        ) from None
    try:
        dataset = dcmread(file)
        names = segment_names(dataset)
    except Exception as error:  # pydicom raises whatever comes
        raise DataError(
            "the file must be a DICOM SEG",
            case=proposal.case,
            file=file,
            found=" ".join(str(error).split())[:200],
            remedy="export the segmentation again",
        ) from None
    classes = {n: _class_of(name, None, file, proposal, meanings) for n, name in names.items()}
    notes: list[Note] = []
    mask = np.zeros(proposal.grid.shape, np.uint8)
    parts = read_segments(dataset, list(names), proposal.grid, notes, file=file, case=proposal.case)
    for number, own in parts:
        _paint(mask, own, classes[number], names[number], file, proposal)
    return Reviewed(mask, notes=notes)


def _class_of(
    name: str,
    proposed: int | None,
    file: Path,
    proposal: Proposal,
    meanings: Mapping[str, int],
) -> int:
    """Return the class of a segment: as the user says, as it was proposed, or by its name."""
    value = meanings.get(name, proposed)
    plain = name.casefold()
    if value is None:
        fits = [n for n, known in enumerate(proposal.names, 1) if known.casefold() in plain]
        only = len(proposal.names) == 1
        value = 1 if only else (fits[0] if len(fits) == 1 else None)
    if value is None or not 0 <= value <= len(proposal.names):
        classes = ", ".join(f"{n} {known}" for n, known in enumerate(proposal.names, 1))
        raise DataError(
            f"the class of each segment must be known: {classes}",
            case=proposal.case,
            file=file,
            found=f"segment {name!r}" + (f" of class {value}" if value is not None else ""),
            remedy=f"say it: --segment '{name}=1'",
        )
    return value


def _paint(
    mask: np.ndarray, own: np.ndarray, value: int, name: str, file: Path, proposal: Proposal
) -> None:
    """Set a class in place; two classes of one voxel are refused."""
    clash = own & (mask > 0) & (mask != value)
    if clash.any() and value:
        raise DataError(
            "segments of different classes must not overlap",
            case=proposal.case,
            file=file,
            found=f"{np.count_nonzero(clash)} voxels of {name!r}",
            remedy="remove the overlap in the labelling program",
        )
    mask[own] = value


def _flat(found: Segmentation, file: Path, case: str) -> np.ndarray:
    """Return layers without names as one mask."""
    mask = found.layers[0].copy()
    for layer in found.layers[1:]:
        if ((mask > 0) & (layer > 0) & (mask != layer)).any():
            raise DataError(
                "layers of different values must not overlap",
                case=case,
                file=file,
                remedy="save it in Slicer as Segmentation (.seg.nrrd), which names the segments",
            )
        mask = np.maximum(mask, layer)
    return mask


def _placed(
    array: np.ndarray, grid: Grid, file: Path, proposal: Proposal
) -> tuple[np.ndarray, list[Note]]:
    volume, notes = place_mask(
        Volume(array, grid),
        proposal.grid,
        case=proposal.case,
        file=file,
        what="the corrected mask",
        scan=f"the scan that {proposal.case} was proposed on",
    )
    return volume.array, notes


def _unique(segment: Segment, found: Segmentation) -> str:
    same = [one for one in found.segments if one.name == segment.name]
    return segment.name if len(same) == 1 else f"{segment.name} ({segment.id})"
