"""Import NIH CT Lymph Nodes: enlarged mediastinal and abdominal nodes, one number per node.

Masks: `MED_ABD_LYMPH_MASKS/{MED,ABD}_LYMPH_NNN/<same>_mask.nii.gz`, axes L, P, S. CT: as NIfTI in a
file or folder named after the case, or as DICOM in folders named after the case or the series.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from hilum.core.case import Case
from hilum.core.errors import DataError, UserError

from ..conversion import Conversion, convert, folder_of
from ..io.nifti import Volume, read_label, read_volume, write_volume
from ..io.simpleitk import read_series
from ..source import Imported, LeftOut, Source, find_root, stem_of, volumes_of

_NAME = re.compile(r"(MED|ABD)_LYMPH_\d{3}", re.IGNORECASE)
WORDS = {"ct": "ct", "mask": "label"}
_MASKS = "MED_ABD_LYMPH_MASKS"
_EXPECTED = f"{_MASKS}/MED_LYMPH_001/MED_LYMPH_001_mask.nii.gz beside the CT"


def import_nih_nodes(source: Source) -> Imported:
    """Write each case as NIfTI: CT in HU and one class of node on the CT's grid.

    Every label is `partial`: only enlarged nodes are marked. The region (`MED`, `ABD`) is not a
    site. Masks without a CT, and scans without a mask, are left out.
    """
    root = find_root(source.root, lambda path: bool(_masks(path)), _EXPECTED)
    masks, scans = _masks(root), _scans(root, source.out)
    words = source.words(WORDS)
    found, conversions = Imported(), []
    for name in sorted(masks.keys() | scans.keys()):
        if name in masks and name in scans:
            files = {"ct": scans[name], "mask": masks[name]}
            volumes, label = volumes_of(files, words, name)
            conversions.append(_conversion(source, name, volumes, label))
        else:
            lack = "CT" if name in masks else "mask"
            found.left_out.append(LeftOut(name, f"case {name}: a case must have a {lack}"))
    return convert(source, conversions, found).raise_if_empty(_EXPECTED, root)


def _masks(root: Path) -> dict[str, Path]:
    folder = root / _MASKS
    nested = folder / _MASKS
    folder = nested if nested.is_dir() else folder
    files = sorted(folder.glob("*/*_mask.nii*")) if folder.is_dir() else []
    return {stem_of(file).removesuffix("_mask").upper(): file for file in files if stem_of(file)}


def _scans(root: Path, out: Path) -> dict[str, Path]:
    """Return for each case the NIfTI file of its CT, or the folder of its longest series.

    What an earlier import wrote to `out` is none.
    """
    found: dict[str, Path] = {}
    slices: dict[str, int] = {}
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root).parts
        if inside[0] == _MASKS or path.name[0] == "." or path.is_relative_to(out):
            continue
        if stem_of(path) and path.is_file():
            match = _NAME.search("/".join(inside))
            if match:
                found[match[0].upper()] = path
        elif path.is_dir():
            count = len(list(path.glob("*.dcm")))
            name = _case_of(path, "/".join(inside)) if count else ""
            if name and count > slices.get(name, 0) and not stem_of(found.get(name, path)):
                found[name], slices[name] = path, count
    return found


def _case_of(folder: Path, place: str) -> str:
    """Return the case of a folder of slices: by its path, else by the patient in the first one."""
    match = _NAME.search(place)
    if not match:
        try:
            import pydicom
            from pydicom.errors import InvalidDicomError
        except ImportError:
            raise UserError(
                "pydicom must be installed to read this",
                file=folder,
                remedy="pip install hilum[dicom]",
            ) from None
        try:
            header = pydicom.dcmread(
                min(folder.glob("*.dcm")), stop_before_pixels=True, specific_tags=["PatientID"]
            )
        except (OSError, ValueError, InvalidDicomError):
            return ""
        match = _NAME.fullmatch(str(header.get("PatientID", "")))
    return match[0].upper() if match else ""


def _conversion(
    source: Source, name: str, volumes: dict[str, Path], mask: Path | None
) -> Conversion:
    folder = folder_of(source, name)
    ((kind, scan),) = volumes.items()
    label = folder / "label.nii.gz" if mask else None
    case = Case(name, name, {kind: folder / f"{kind}.nii.gz"}, label, partial=mask is not None)
    inputs = tuple(sorted(scan.glob("*.dcm"))) if scan.is_dir() else (scan,)
    inputs = (*inputs, mask) if mask else inputs
    return Conversion(case, inputs, partial(_write, name, kind, scan, mask), kind)


def _write(case: str, kind: str, scan: Path, mask: Path | None, folder: Path) -> None:
    ct = read_series(scan, case) if scan.is_dir() else read_volume(scan, case)
    whole = bool((ct.array == np.round(ct.array)).all()) and np.abs(ct.array).max() < 32768
    write_volume(folder / f"{kind}.nii.gz", ct.array, ct.grid, np.int16 if whole else np.float32)
    if mask is None:
        return
    label = read_label(mask, case)
    placed = reorder((label.array > 0).astype(np.uint8), label, ct, mask, case)
    write_volume(folder / "label.nii.gz", placed, ct.grid)


def reorder(array: np.ndarray, mask: Volume, ct: Volume, file: Path, case: str) -> np.ndarray:
    """Return the voxels of a mask in the order of its scan's axes.

    The masks were drawn voxel by voxel on the scan, but stored along L, P, S whatever the scan's
    own order, and their origin need not be the scan's: axes count, places do not.

    Args:
        array: `[D, H, W]` on the mask's grid.
        mask: For its grid.
        ct: The scan.
        file: The mask, for messages.
        case: For messages.
    """
    from_grid, axes, flips = mask.grid.canonical()
    to_grid, ct_axes, ct_flips = ct.grid.canonical()
    if from_grid.shape != to_grid.shape:
        raise DataError(
            "a mask must have as many voxels as its scan",
            case=case,
            file=file,
            found=f"{from_grid.shape}, {to_grid.shape} (inferior to superior, back to front, "
            "left to right)",
            remedy="download scan and mask of the case again",
        )
    straight = np.flip(array.transpose(axes), tuple(i for i in range(3) if flips[i]))
    back = np.flip(straight, tuple(i for i in range(3) if ct_flips[i]))
    return np.ascontiguousarray(back.transpose(np.argsort(ct_axes)))
