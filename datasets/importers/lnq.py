"""Import LNQ2023: mediastinal nodes on chest CT, as NRRD; training labels mark some nodes only.

`lnq2023-{train,val,test}-NNNN-{ct,seg}.nrrd`, in one folder or several. The same patients as DICOM
(TCIA, Mediastinal-Lymph-Node-SEG) are read by `hilum import dicom --partial`.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.notes import Note

from ..conversion import Conversion, convert, folder_of
from ..io.lattice import place_mask
from ..io.nifti import Volume, write_volume
from ..io.simpleitk import read_image
from ..source import Imported, LeftOut, Source, find_root, volumes_of

_NAME = re.compile(r"(lnq2023-(train|val|test)-\d+)-(ct|seg)\.nrrd", re.IGNORECASE)
WORDS = {"ct": "ct", "seg": "label"}
_EXPECTED = "lnq2023-train-NNNN-ct.nrrd and -seg.nrrd, or folders of them"


def import_lnq(source: Source) -> Imported:
    """Write each case as NIfTI: CT in its own type of voxels, one class of node on the CT's grid.

    `train` is `partial`: about one in five nodes is marked. `val` and `test` are marked in full and
    become `test`. Masks on another box of the CT's lattice are put in place by their geometry.
    """
    root = find_root(source.root, lambda path: bool(_files(path)), _EXPECTED)
    found = Imported()
    conversions, words = [], source.words(WORDS)
    for name, files in sorted(_files(root).items()):
        try:
            volumes, label = volumes_of(files, words, name)
        except DataError:
            found.left_out.append(LeftOut(name, f"case {name}: a case must have a CT"))
            continue
        conversions.append(_conversion(source, name, volumes, label))
    return convert(source, conversions, found).raise_if_empty(_EXPECTED, root)


def _files(root: Path) -> dict[str, dict[str, Path]]:
    """Return the files of each case, here and one folder further down."""
    found: dict[str, dict[str, Path]] = {}
    for file in [*root.glob("*.nrrd"), *root.glob("*/*.nrrd")]:
        match = _NAME.fullmatch(file.name)
        if match:
            found.setdefault(match[1].lower(), {})[match[3].lower()] = file
    return found


def _conversion(
    source: Source, name: str, volumes: dict[str, Path], seg: Path | None
) -> Conversion:
    train = "-train-" in name
    folder = folder_of(source, name)
    ((kind, ct),) = volumes.items()
    case = Case(
        id=name,
        patient=name,
        volumes={kind: folder / f"{kind}.nii.gz"},
        label=folder / "label.nii.gz" if seg else None,
        split="train" if train else "test",
        partial=train and seg is not None,
    )
    inputs = (ct, seg) if seg else (ct,)
    return Conversion(case, inputs, partial(_write, name, kind, ct, seg), kind)


def _write(case: str, kind: str, ct_file: Path, seg_file: Path | None, folder: Path) -> list[Note]:
    ct = read_image(ct_file, case)
    write_volume(folder / f"{kind}.nii.gz", ct.array, ct.grid)
    if not seg_file:
        return []
    seg = read_image(seg_file, case)
    nodes = Volume((seg.array > 0).astype(np.uint8), seg.grid)
    mask, notes = place_mask(nodes, ct.grid, case=case, file=seg_file)
    write_volume(folder / "label.nii.gz", mask.array, ct.grid)
    return notes
