"""Masks of any tool in a folder: NIfTI, MetaImage or NRRD, one of each case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from hilum.core.errors import DataError

from .mask_values import whole_numbers
from .nifti import ENDINGS, Volume, read_label
from .simpleitk import read_image

MASK_ENDINGS = (*ENDINGS, ".seg.nrrd", ".nrrd", ".nhdr", ".mha", ".mhd")
"""Files that hold a mask; of two that fit, the first counts."""
BESIDE = ("_probability", "_uncertainty")
"""Ends of the names of maps that lie beside the mask of a case."""


def read_mask(path: Path, case: str | None = None) -> Volume:
    """Read a mask of whole numbers from NIfTI, MetaImage or NRRD.

    Raises:
        DataError: If it is unreadable, has several values per voxel (4D, segments that overlap),
            or holds something else than whole numbers from 0 on.
    """
    if path.name.lower().endswith(ENDINGS):
        return read_label(path, case)
    found = read_image(path, case)
    return Volume(whole_numbers(found.array, path, case), found.grid)


def masks_in(folder: Path, *, what: str = "prediction") -> dict[str, Path]:
    """Return the mask of each case in a folder by the name of the case, `<case>.<ending>`.

    Maps next to a mask (`<case>_probability`, `<case>_uncertainty`) are none of their own.

    Args:
        folder: Where they lie.
        what: Name of a mask in messages.

    Raises:
        DataError: If the folder is missing, or cases have two masks each; all are named.
    """
    if not folder.is_dir():
        raise DataError(f"no such folder of {what}s", file=folder, remedy="check the path")
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.iterdir()):
        if file.is_file() and (name := mask_name(file)):
            found.setdefault(name, []).append(file)
    doubles = {name: files for name, files in found.items() if len(files) > 1}
    if doubles:
        first = next(iter(doubles))
        raise DataError(
            f"a case must have one {what}",
            case=some(doubles),
            file=folder,
            found=" and ".join(file.name for file in doubles[first]),
            remedy="keep one of them",
        )
    maps = {name + end for name in found for end in BESIDE}
    return {name: files[0] for name, files in found.items() if name not in maps}


def mask_name(file: Path) -> str:
    """Return the name of the case that a file is of, or nothing if it is no mask."""
    lower = file.name.lower()
    return next((file.name[: -len(e)] for e in MASK_ENDINGS if lower.endswith(e)), "")


def some(names: Iterable[str] | Mapping[str, object], most: int = 5) -> str:
    """Return the first names in words, and how many more there are."""
    listed = list(names)
    more = len(listed) - most
    return ", ".join(listed[:most]) + (f" and {more} more" if more > 0 else "")
