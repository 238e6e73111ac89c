"""Put a mask voxel by voxel on the grid of the scan that it was drawn on: nothing is resampled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hilum.core.errors import DataError
from hilum.core.geometry import Grid, LatticeMatch, lattice_match
from hilum.core.notes import Note

from .boxes import overlap
from .nifti import Volume

_RANK = {"equal": 0, "turned": 0, "offset": 1}


def drawn_on(mask: Grid, grids: Mapping[str, Grid]) -> str:
    """Return the modality whose lattice a mask has, or nothing.

    The same box comes before another one, and CT before others.
    """
    kinds = {name: lattice_match(grid, mask).kind for name, grid in grids.items()}
    fits = [name for name, kind in kinds.items() if kind in _RANK]
    return min(fits, key=lambda n: (_RANK[kinds[n]], n.split("_")[0] != "ct"), default="")


def scan_of(
    mask: Grid, grids: Mapping[str, Grid], *, case: str = "", file: Path | None = None
) -> str:
    """Return the modality whose lattice a label has.

    Args:
        mask: Of the label.
        grids: Of the scans of its case, by modality.
        case: For messages.
        file: For messages.

    Raises:
        DataError: If it has none's, with its distance from each.
    """
    name = drawn_on(mask, grids)
    if not name:
        raise DataError(
            "the label must lie on the grid of one of the modalities",
            case=case,
            file=file,
            found="; ".join(f"{name}: {apart(grid, mask)}" for name, grid in grids.items()),
            remedy="export the mask on the grid of the scan that it was drawn on",
        )
    return name


def place_mask(
    mask: Volume,
    grid: Grid,
    *,
    case: str = "",
    file: Path | None = None,
    what: str = "the label",
    scan: str = "its scan",
) -> tuple[Volume, list[Note]]:
    """Return a mask on the grid of its scan, and what was done to it.

    Axes are permuted and flipped; rows beyond the scan are cropped if they are empty, rows that
    the mask lacks are background.

    Args:
        mask: Whole numbers.
        grid: Of the scan.
        case: For messages.
        file: For messages.
        what: Name of the mask in messages.
        scan: Name of what it must fit in messages.

    Raises:
        DataError: If the voxels do not coincide, or marked voxels lie outside of the scan.
    """
    match = lattice_match(grid, mask.grid)
    if match.kind == "equal":
        return Volume(mask.array, grid), []
    if not match.same_lattice:
        found, remedy = apart(grid, mask.grid), "export it on the grid that it was drawn on"
        if not (mask.grid.overlap(grid) or grid.overlap(mask.grid)):
            found = f"{_place(mask.grid)} against {_place(grid)}, without one in common"
            remedy = "it may be of another patient, or have lost its position: see its header"
        raise DataError(
            f"{what} must lie on the grid of {scan}",
            case=case,
            file=file,
            found=found,
            remedy=remedy,
        )
    array = turned(mask.array, match)
    if match.kind == "turned":
        return Volume(np.ascontiguousarray(array), grid), []
    inner, outer = overlap([-s for s in match.start], grid.shape, match.shape)
    placed = np.zeros(grid.shape, mask.array.dtype)
    placed[outer] = array[inner]
    lost = int(np.count_nonzero(array)) - int(np.count_nonzero(placed))
    if lost:
        raise DataError(
            f"{what} must mark nothing outside of {scan}",
            case=case,
            file=file,
            found=f"{lost} of {np.count_nonzero(array)} marked voxels "
            f"({lost * grid.voxel_ml:.3g} ml) outside; {_boxes(grid, match)}",
            remedy="export the mask on the grid of the scan that it was drawn on",
        )
    return Volume(placed, grid), [_note(grid, match, case, what, scan)]


def turned(array: np.ndarray, match: LatticeMatch) -> np.ndarray:
    """Return an array of the second grid in the order and direction of the first's axes."""
    return np.flip(array.transpose(match.axes), tuple(i for i in range(3) if match.flips[i]))


def apart(grid: Grid, other: Grid) -> str:
    """Return in words how far two grids are from one lattice."""
    match = lattice_match(grid, other)
    sizes = f"{_sides(other.shape)} and {_sides(grid.shape)} voxels"
    if match.kind == "apart":
        return f"{sizes} without one in common"
    one, two = ((" x ".join(f"{s:.5g}" for s in g.spacing)) for g in (other, grid))
    spacings = f" of {one} and {two} mm" if one != two else f" of {one} mm"
    return f"{sizes}{spacings}, up to {match.distance_mm:.3g} mm apart"


def _note(grid: Grid, match: LatticeMatch, case: str, what: str, scan: str) -> Note:
    ends = [s + n for s, n in zip(match.start, match.shape, strict=True)]
    padded = any(s > 0 for s in match.start) or any(
        e < n for e, n in zip(ends, grid.shape, strict=True)
    )
    done = "placed; voxels that it does not cover are background" if padded else "cropped to it"
    text = f"{what} has another box than {scan} and was {done}: {_boxes(grid, match)}"
    return Note("warning" if padded else "info", f"{what} on another box of the scan", text, case)


def _place(grid: Grid) -> str:
    """Return where the box of a grid lies in the patient."""
    d, h, w = ((-0.5, n - 0.5) for n in grid.shape)
    corners = grid.to_world(np.stack(np.meshgrid(d, h, w, indexing="ij"), -1).reshape(-1, 3))
    ends = zip("xyz", corners.min(0), corners.max(0), strict=True)
    return ", ".join(f"{axis} {low:.0f} to {high:.0f}" for axis, low, high in ends) + " mm"


def _boxes(grid: Grid, match: LatticeMatch) -> str:
    start = ", ".join(map(str, match.start))
    return f"{_sides(match.shape)} voxels from ({start}) on {_sides(grid.shape)}"


def _sides(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
