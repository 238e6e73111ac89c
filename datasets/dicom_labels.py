"""Turn RTSTRUCT and DICOM SEG files into one mask per series, by a table of names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from ..core.errors import DataError, SettingsError
from ..core.geometry import Grid
from .dicom_contours import read_contours, roi_names
from .dicom_references import Series, series_of
from .dicom_segmentation import read_segments, segment_names

_PART = r"([\s_.,/()-].*|\d.*|[lr]|left.*|right.*)?"
NODE_NAMES: dict[str, int] = {
    # GTVn, GTV-N, GTV_LN2, iGTV node left, GTV-1_N, GTVnd, GTVn_R, "GTV nodal"
    rf"i?gtv[\s_.-]*(\d+[\s_.-]+)?(nd?|lns?|nod(es?|al|us|i)|adp|adenopath\w*?|lymph.*?){_PART}": 1,
    # nodal GTV, node GTV 2, LN GTV
    rf"(n|lns?|nod(es?|al|us|i))[\s_.-]*i?gtv{_PART}": 1,
    # lymph node, Lymph_Nodes_3, mediastinal lymphadenopathy, Lymphknoten, adénopathie
    r"(?!.*(ctv|ptv|level|elective)).*"
    r"(lymph[\s_.-]*nod|lymph\w*adeno|ad[eé]nopath|lymphknoten).*": 1,
    # LN, LN2, LN_R, LNs left
    r"lns?([\s_.-]*(\d+\w?|l|r|lt|rt|left|right))*": 1,
    # node, nodes, Node 3, node_R
    rf"nodes?{_PART}": 1,
}
"""Names that nodes go by in public sets: the spellings of HECKTOR's MDA centre and their kin."""


@dataclass(frozen=True)
class DicomLabel:
    """What was drawn on one series.

    Attributes:
        series: SeriesInstanceUID.
        mask: uint8 `[D, H, W]` on the grid of the series; 0 background.
        names: Class of each region or segment that was taken.
        left_out: Names that no pattern matched, or that have class 0.
        notes: What was not as it should be, one line each.
    """

    series: str
    mask: np.ndarray
    names: dict[str, int]
    left_out: list[str]
    notes: list[str]


@dataclass
class _Drawn:
    """What has been read of one series so far: one mask for each line of the table."""

    grid: Grid
    masks: dict[int, np.ndarray] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_labels(
    files: Sequence[Path],
    series: Series,
    names: Mapping[str, int],
    case: str | None = None,
) -> list[DicomLabel]:
    """Read the labels of one patient, those of one series together.

    Args:
        files: RTSTRUCT and SEG files.
        series: By SeriesInstanceUID: grid and headers of each volume that a label may lie on.
        names: Class by a pattern for the whole name, whatever its case (`GTV.?n.*`); the first that
            matches counts. Class 0 marks names as known and unwanted. Where classes overlap, the
            one whose pattern comes later in the table wins.
        case: For messages.

    Returns:
        One label for each series that something was drawn on, in the order of `series`. A file that
        belongs to a series that is not there is a note, as long as another file has its series.

    Raises:
        SettingsError: If a pattern or a class is no good.
        DataError: If the table is empty or matches no name at all (the names are listed), no file's
            series is there, or a file is damaged.
    """
    table = _table(names)
    datasets = [(file, _open(file, case)) for file in files]
    found = {file: _names(dataset) for file, dataset in datasets}
    _require_match(table, found, case)
    drawn: dict[str, _Drawn] = {}
    missing: list[DataError] = []
    for file, dataset in datasets:
        lines = {number: _line(table, name) for number, name in found[file].items()}
        known = [number for number, line in lines.items() if line is not None]
        if not known:
            # Nothing of the table: no reason to ask for its series.
            continue
        wanted = {n: line for n in known if (line := lines[n]) is not None and table[line][1]}
        try:
            uid = series_of(dataset, list(wanted) or known, series, file=file, case=case)
        except DataError as error:
            missing.append(error)
            continue
        one = drawn.setdefault(uid, _Drawn(series[uid][0]))
        _draw(dataset, file, wanted, found[file], one, case)
        one.names |= {found[file][n]: table[line][1] for n, line in wanted.items()}
    if missing and not drawn:
        raise missing[0]
    for one in drawn.values():
        one.notes.extend(f"left out: {error}" for error in missing)
    return [_label(uid, drawn[uid], table) for uid in series if uid in drawn]


def label_names(file: Path, case: str | None = None) -> list[str]:
    """Return the names of the regions or segments in a file."""
    return list(_names(_open(file, case)).values())


def _table(names: Mapping[str, int]) -> list[tuple[re.Pattern[str], int]]:
    table = []
    for pattern, value in names.items():
        try:
            compiled = re.compile(pattern, re.IGNORECASE)
        except re.error as error:
            raise SettingsError(
                "a name must be a regular expression",
                found=repr(pattern),
                remedy=f"{error}; put a backslash before + ( ) [ ] * ? to mean the sign itself",
            ) from error
        if not 0 <= value <= 254:
            raise SettingsError("a class must be from 0 to 254", found=f"{pattern!r}: {value}")
        table.append((compiled, value))
    return table


def _open(file: Path, case: str | None) -> Dataset:
    try:
        dataset = dcmread(file)
    except (InvalidDicomError, OSError, EOFError, ValueError, AttributeError) as error:
        found = " ".join(str(error).split())[:200]
        raise DataError("a label must be DICOM", case=case, file=file, found=found) from error
    if str(dataset.get("Modality")) not in ("RTSTRUCT", "SEG"):
        raise DataError(
            "a label must be an RTSTRUCT or a SEG",
            case=case,
            file=file,
            found=f"modality {dataset.get('Modality')}",
        )
    return dataset


def _names(dataset: Dataset) -> dict[int, str]:
    return roi_names(dataset) if dataset.Modality == "RTSTRUCT" else segment_names(dataset)


def _line(table: list[tuple[re.Pattern[str], int]], name: str) -> int | None:
    """Return the first line of the table that matches a name."""
    return next((i for i, (pattern, _) in enumerate(table) if pattern.fullmatch(name)), None)


def _require_match(
    table: list[tuple[re.Pattern[str], int]],
    found: Mapping[Path, Mapping[int, str]],
    case: str | None,
) -> None:
    every = list(dict.fromkeys(name for names in found.values() for name in names.values()))
    if found and not any(_line(table, name) is not None for name in every):
        rule = "the table of names must match a region" if table else "labels need a table of names"
        raise DataError(
            rule,
            case=case,
            file=next(iter(found)),
            found=f"regions {', '.join(map(repr, every)) or 'without names'}",
            remedy="name the wanted ones, as in GTVn=1, and with 0 those to ignore, as in GTVp=0",
        )


def _draw(
    dataset: Dataset,
    file: Path,
    wanted: Mapping[int, int],
    names: Mapping[int, str],
    one: _Drawn,
    case: str | None,
) -> None:
    """Add what one file holds to what is drawn on its series.

    Args:
        dataset: RTSTRUCT or SEG.
        file: Where it is from.
        wanted: Line of the table by number of region or segment.
        names: Name of each number.
        one: What is drawn on the series so far.
        case: For messages.
    """
    one.left_out.extend(name for number, name in names.items() if number not in wanted)
    reader = read_contours if dataset.Modality == "RTSTRUCT" else read_segments
    seen = set(one.names)
    for number, mask in reader(dataset, list(wanted), one.grid, one.notes, file=file, case=case):
        name, line = names[number], wanted[number]
        if not mask.any():
            one.notes.append(f"{name!r}: covers the centre of no voxel")
        if name in seen:
            one.notes.append(f"{name!r}: drawn more than once, taken together")
        seen.add(name)
        one.masks[line] = one.masks[line] | mask if line in one.masks else mask


def _label(uid: str, drawn: _Drawn, table: list[tuple[re.Pattern[str], int]]) -> DicomLabel:
    """Paint the masks in the order of the table."""
    mask, notes = np.zeros(drawn.grid.shape, np.uint8), drawn.notes
    for line in sorted(drawn.masks):
        value, region = table[line][1], drawn.masks[line]
        over = int(np.sum((mask[region] != 0) & (mask[region] != value)))
        if over:
            notes.append(f"class {value} overlaps others in {over} voxels and takes them")
        mask[region] = value
    return DicomLabel(uid, mask, drawn.names, drawn.left_out, notes)
