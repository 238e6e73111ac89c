"""Do the grids of a case make sense, alone and together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from hilum.core.case import Case
from hilum.core.errors import UserError
from hilum.core.geometry import Grid, Points
from hilum.core.modality import modality

from ..io.nifti import read_grid
from ..io.nifti_header import notes_on_header
from .report import Problem

LEAST_SHARED = 0.1
LEAST_PET = 0.9
SPACING_MM = (0.2, 10.0)
LEAST_SIDE = 8


def grid_problems(case: str, name: str, grid: Grid) -> Iterator[Problem]:
    """Yield what is odd about one grid."""
    low, high = SPACING_MM
    if min(grid.spacing) < low or max(grid.spacing) > high:
        found = " x ".join(f"{s:.3g}" for s in grid.spacing)
        yield Problem(
            case,
            "warn",
            f"spacing of {name} should be {low:g} to {high:g} mm",
            found,
            "is the unit of the header mm?",
        )
    if min(grid.shape) < LEAST_SIDE:
        found = " x ".join(map(str, grid.shape))
        remedy = "is it a localiser, or one slice of a scan?"
        yield Problem(case, "warn", f"{name} should have {LEAST_SIDE} slices", found, remedy)


def header_problems(case: Case) -> Iterator[Problem]:
    """Yield what is odd in the headers of files, such as a position that is left open."""
    labels = [file for file in (case.label, *case.raters.values()) if file]
    for file in [*case.volumes.values(), *labels]:
        try:
            read_grid(file, case.id)
        except UserError:
            continue
        for note in notes_on_header(file, case.id):
            remedy = "look at the thumbnails; other programs may show it elsewhere"
            yield replace(
                Problem.of_note(note), remedy=remedy if note.severity == "warning" else ""
            )


def overlap_problems(case: str, grids: dict[str, Grid], reference: str) -> Iterator[Problem]:
    """Yield scans that miss the reference, or leave much of it uncovered.

    A scan that lies inside the reference is fine however small it is: an MR of a knee next to a
    whole-body CT.
    """
    whole = grids[reference]
    for name, grid in grids.items():
        if name == reference:
            continue
        share = covered(whole, grid)
        if max(share, covered(grid, whole)) < LEAST_SHARED:
            apart = np.linalg.norm(_middle(grid) - _middle(whole))
            yield Problem(
                case,
                "block",
                f"{name} and {reference} must show the same place",
                f"{share:.0%} in common, centres {apart:.0f} mm apart",
                "the scans are not of one study, or lost their position in the patient",
            )
        elif modality(name).unit == "SUV" and share < LEAST_PET:
            yield Problem(
                case,
                "warn",
                f"{name} should cover {reference}",
                f"{share:.0%}",
                "outside of it the uptake is unknown",
            )


def covered(grid: Grid, other: Grid) -> float:
    """Return the fraction of the box of `grid`, as a fraction, that lies inside `other`'s.

    Counted at 32^3 points in the middle of as many parts, so to within 2 % per side.
    """
    steps = [(np.arange(32) + 0.5) / 32 * n - 0.5 for n in grid.shape]
    lattice = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 3)
    return float(inside(grid.to_world(lattice), other).mean())


def inside(world: Points, grid: Grid) -> np.ndarray:
    """Say which points (RAS mm, `[N, 3]`) lie in the box of a grid."""
    index = grid.to_index(world)
    # A rounded header must not cost a row of points at the edge.
    edge = 0.5 + 1e-3
    return np.all((index >= -edge) & (index <= np.asarray(grid.shape) - 1 + edge), axis=-1)


def orientation(grid: Grid) -> str:
    """Return where depth, height and width run to, as in `SAR` or `SPL`."""
    letters = ("LR", "PA", "IS")
    _, axes, _ = grid.canonical()
    code = [""] * 3
    for row, axis in zip((2, 1, 0), axes, strict=True):
        code[axis] = letters[row][int(grid.affine[row, axis] > 0)]
    return "".join(code)


def _middle(grid: Grid) -> np.ndarray:
    return grid.to_world((np.asarray(grid.shape) - 1) / 2)
