"""What the files of a case store must hold: types of every field, sides of every array."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
from annotated_types import Ge, Len
from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from hilum.core.case import IGNORE
from hilum.core.errors import StoreError
from hilum.core.files import read_object
from hilum.core.geometry import IntTriple
from hilum.core.plain import check_shape

AGAIN = "run `hilum prepare` again into a new folder"

Index = Annotated[int, Ge(0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Sides = Annotated[list[Annotated[int, Ge(1)]], Len(3, 3)]
Place = Annotated[list[Index], Len(3, 3)]
Box = Annotated[list[Place], Len(2, 2)]
Names = Annotated[list[str], Len(1)]
Folder = Annotated[str, Field(pattern=r"^[^./\\\x00][^/\\\x00]*$")]
"""A name that leads to no other folder."""

_ANY = ConfigDict(extra="allow", strict=True)


class GridAbout(TypedDict):
    """A grid, as `Grid.as_json` writes it."""

    __pydantic_config__ = _ANY  # pyright: ignore[reportGeneralTypeIssues] - pydantic's own way
    shape: Sides
    affine: Annotated[list[Annotated[list[Finite], Len(4, 4)]], Len(4, 4)]


Node = TypedDict(
    "Node",
    {
        "class": Annotated[int, Ge(1)],
        "voxels": Index,
        "volume_ml": Finite,
        "centre_mm": Annotated[list[Finite], Len(3, 3)],
        "box": Box,
    },
    total=False,
)
"""A component of a label."""


class CaseAbout(TypedDict):
    """`case.json`."""

    __pydantic_config__ = _ANY  # pyright: ignore[reportGeneralTypeIssues]
    version: int
    id: Folder
    patient: str
    site: str
    split: str
    modalities: Names
    labelled: bool
    nodes: list[Node]
    grid: GridAbout
    source_grid: GridAbout
    body_box: Box
    storage: NotRequired[Literal["npy", "b2nd"]]
    partial: NotRequired[bool]
    notes: NotRequired[list[dict[str, str] | str]]
    inputs: NotRequired[dict[str, str]]
    scans: NotRequired[dict[str, str]]
    factors: NotRequired[dict[str, Finite]]
    raters: NotRequired[Names]
    shares: NotRequired[list[list[Finite]]]
    hot_spots: NotRequired[Index]


class RowAbout(TypedDict):
    """A row of the index."""

    __pydantic_config__ = _ANY  # pyright: ignore[reportGeneralTypeIssues]
    id: Folder
    patient: str
    site: NotRequired[str]
    split: str
    modalities: Names
    labelled: bool
    shape: NotRequired[Sides]
    nodes: NotRequired[Index]
    classes: NotRequired[Index]
    partial: NotRequired[bool]
    notes: NotRequired[Index]
    raters: NotRequired[list[str]]
    soft: NotRequired[bool]
    hot_spots: NotRequired[Index]
    scans: NotRequired[list[str]]


class StoreAbout(TypedDict):
    """`store.json`."""

    __pydantic_config__ = _ANY  # pyright: ignore[reportGeneralTypeIssues]
    version: int
    modalities: Names
    spacing: Annotated[list[Annotated[Finite, Field(gt=0)]], Len(3, 3)]
    classes: Annotated[int, Ge(1), Field(le=IGNORE)]
    fingerprint: str
    cases: list[RowAbout]
    notes: NotRequired[list[dict[str, str] | str]]


def read_about(file: Path, shape: type, version: int) -> dict[str, Any]:
    """Read `store.json` or `case.json`.

    Raises:
        StoreError: If the version is another, or a field is missing or of another type.
    """
    about = read_object(file)
    what = "the store" if shape is StoreAbout else "a prepared case"
    if about.get("version") != version:
        raise StoreError(
            f"{what} must have version {version}",
            file=file.parent,
            found=about.get("version"),
            remedy=AGAIN,
        )
    check_shape(about, shape, file=file, what=what, remedy=AGAIN, error=StoreError)
    names = [row["id"] for row in about.get("cases", ())]
    if len(set(names)) < len(names):
        raise StoreError(f"{what} must hold each case once", file=file, remedy=AGAIN)
    return about


def check_array(
    array: Any, kind: type[np.generic], shape: tuple[int, ...], case: str, file: Path
) -> None:
    """Raise an error unless an array has the type and the sides that `case.json` says."""
    if array.dtype != kind or tuple(array.shape) != shape:
        raise StoreError(
            f"the array must be {np.dtype(kind).name} of {' x '.join(map(str, shape))}",
            case=case,
            file=file,
            found=f"{array.dtype} of {' x '.join(map(str, array.shape))}",
            remedy=AGAIN,
        )


def read_points(file: Path, names: Sequence[str], shape: IntTriple, case: str) -> list[np.ndarray]:
    """Read voxels of a case, and the numbers next to them.

    Args:
        file: As `write_case` writes it.
        names: Of the voxels, then of each array next to them.
        shape: Sides of the case.
        case: Its name.

    Raises:
        StoreError: If the file is damaged, or a voxel lies outside.
    """
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stream:
            arrays = [stream[name] for name in names]
    except Exception as error:  # zipfile and numpy raise what their parsers raise
        raise StoreError(
            "the voxels of nodes must be readable",
            case=case,
            file=file,
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            remedy=AGAIN,
        ) from None
    check_points(arrays[0], shape, case, file, **dict(zip(names[1:], arrays[1:], strict=True)))
    return arrays


def check_points(
    points: np.ndarray, shape: IntTriple, case: str, file: Path, **beside: np.ndarray
) -> None:
    """Raise an error unless voxels lie inside a case, with a number each in the other arrays."""
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind not in "iu":
        found = f"{points.dtype} of {points.shape}"
    elif len(points) and (points.min() < 0 or (points.max(0) >= shape).any()):
        found = f"voxels from {points.min(0).tolist()} to {points.max(0).tolist()}"
    elif any(a.shape != (len(points),) or a.dtype.kind not in "iu" for a in beside.values()):
        found = ", ".join(f"{name} {array.shape}" for name, array in beside.items())
    else:
        return
    raise StoreError(
        f"voxels of nodes must lie inside the case of {' x '.join(map(str, shape))}",
        case=case,
        file=file,
        found=found,
        remedy=AGAIN,
    )


def check_classes(values: np.ndarray, classes: int, case: str, file: Path) -> None:
    """Raise an error if a label holds what is neither a class nor unknown."""
    outside = (values >= classes) & (values != IGNORE)
    if outside.any():
        raise StoreError(
            f"labels must be below {classes}, the number of classes, or {IGNORE}",
            case=case,
            file=file,
            found=int(values[outside].max()),
            remedy=AGAIN,
        )
