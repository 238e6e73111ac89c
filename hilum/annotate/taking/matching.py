"""Which case a file of a labeller's folder is of: by name, by the scan next to it, by its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hilum.core.errors import DataError, UserError
from hilum.core.files import hash_of_file
from hilum.core.geometry import Grid, lattice_match
from hilum.datasets.io.content import hash_of_scan
from hilum.datasets.io.masks import BESIDE, MASK_ENDINGS, mask_name
from hilum.datasets.io.nifti import ENDINGS as NIFTI
from hilum.datasets.io.nifti import Volume, read_grid, read_volume
from hilum.datasets.io.simpleitk import read_image

from ..formats.slicer import ENDINGS as NRRD
from ..formats.slicer import read_segmentation
from ..proposing.record import Proposal

ALL_ENDINGS = (*MASK_ENDINGS, ".dcm")
Files = dict[str, list[tuple[Path, str]]]
"""Files by case, and how one knows whose they are."""
MOST_VALUES = 64
"""A file of whole numbers with no more than these is a mask, not a scan."""


@dataclass
class Found:
    """Files by case.

    Attributes:
        masks: The corrected mask of each case, and how one knows whose it is.
        bad: What is wrong with a case or a file.
    """

    masks: dict[str, tuple[Path, str]] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)


def match(folder: Path, proposals: Mapping[str, Proposal]) -> Found:
    """Find the corrected masks of a folder, at any depth, and whose they are.

    A file is of the case that it, or its folder, is called after. A file with another name is of
    the case whose scan lies next to it, known by its voxels; without a scan, of the only case whose
    grid it fits. Scans and maps (`_probability`) are no masks.

    Raises:
        DataError: If the folder does not exist.
    """
    if not folder.is_dir():
        raise DataError("no such folder of corrected masks", file=folder, remedy="check the path")
    scans = {scan: case for case, one in proposals.items() for scan in one.scans.values()}
    found, beside = Found(), dict[Path, str]()
    files: Files = {}
    nameless: list[Path] = []
    for file in sorted(_files(folder)):
        case = _by_name(file, folder, proposals)
        if case and mask_name_of(file) == case:
            files.setdefault(case, []).append((file, "its name"))
            continue
        try:
            owner, is_mask = _look(file, scans)
        except UserError as error:
            found.bad.append(str(error))
            continue
        if owner:
            beside[file.parent] = owner
        elif is_mask and case:
            files.setdefault(case, []).append((file, "the name of its folder"))
        elif is_mask:
            nameless.append(file)
    _place_nameless(nameless, beside, proposals, files, found)
    for case, own in files.items():
        _settle(proposals[case], own, found)
    return found


def _place_nameless(
    nameless: Sequence[Path],
    beside: Mapping[Path, str],
    proposals: Mapping[str, Proposal],
    files: Files,
    found: Found,
) -> None:
    """Find the cases of files whose names say nothing."""
    for file in nameless:
        if file.parent in beside:
            files.setdefault(beside[file.parent], []).append((file, "the scan beside it"))
        else:
            _by_place(file, proposals, files, found)


def mask_name_of(file: Path) -> str:
    """Return the name of a file without the ending of a mask."""
    return file.name[:-4] if file.name.lower().endswith(".dcm") else mask_name(file)


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.name.lower().endswith(ALL_ENDINGS) and not mask_name_of(path).endswith(BESIDE):
            yield path


def _by_name(file: Path, folder: Path, proposals: Mapping[str, Proposal]) -> str:
    """Return the case that a file, or a folder above it, is called after."""
    above = [parent.name for parent in file.parents if folder in (parent, *parent.parents)]
    return next((name for name in (mask_name_of(file), *above) if name in proposals), "")


def _look(file: Path, scans: Mapping[str, str]) -> tuple[str, bool]:
    """Return the case that a file is a scan of, if any, and whether it is a mask."""
    lower = file.name.lower()
    if lower.endswith((".seg.nrrd", ".dcm")):
        return "", True
    volume = _read(file)
    if owner := scans.get(hash_of_scan(volume)):
        return owner, False
    return "", _is_mask(volume.array)


def _read(file: Path) -> Volume:
    lower = file.name.lower()
    if lower.endswith(NIFTI):
        return read_volume(file)
    if lower.endswith(NRRD):
        found = read_segmentation(file)
        return Volume(found.layers.max(0), found.grid)
    return read_image(file)


def _is_mask(array: np.ndarray) -> bool:
    """Tell a mask from a scan or a map: few different values."""
    sample = array.ravel()[:: max(array.size // 2**18, 1)]
    return len(np.unique(sample)) <= MOST_VALUES


def _by_place(
    file: Path,
    proposals: Mapping[str, Proposal],
    files: Files,
    found: Found,
) -> None:
    fits = [c for c, p in proposals.items() if lattice_match(p.grid, _grid(file)).same_lattice]
    if len(fits) == 1:
        files.setdefault(fits[0], []).append((file, "the only scan whose grid it has"))
        return
    rule = "a mask must be of a case that was proposed"
    what = "it fits no scan" if not fits else f"it fits the scans of {', '.join(fits[:5])}"
    remedy = "call it after its case, or put it into a folder of that name, or beside the scan"
    found.bad.append(str(DataError(rule, file=file, found=what, remedy=remedy)))


def _grid(file: Path) -> Grid:
    lower = file.name.lower()
    return read_grid(file) if lower.endswith(NIFTI) else _read(file).grid


def _settle(proposal: Proposal, own: list[tuple[Path, str]], found: Found) -> None:
    """Keep the mask of a case: of several files the one that is not as it was proposed."""
    touched = [one for one in own if not _as_proposed(one[0], proposal)]
    if len(touched) > 1:
        names = " and ".join(str(file) for file, _ in touched)
        rule = "a rater must give a case once"
        remedy = "keep the one that counts; take another rater's by a call of their own"
        found.bad.append(str(DataError(rule, case=proposal.case, found=names, remedy=remedy)))
        return
    found.masks[proposal.case] = (touched or own)[0]


def _as_proposed(file: Path, proposal: Proposal) -> bool:
    """Tell whether a file is byte for byte as it was written with the proposal."""
    return hash_of_file(file) in proposal.files.values()
