"""Turn RTSTRUCT and DICOM SEG files into one mask per series, by a table of names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread

from hilum.core.errors import DataError, UserError
from hilum.core.geometry import Grid
from hilum.core.notes import Note

from .contours import read_contours, roi_names
from .names import REGEX, Table, line_of, overlaps, remedy, table_of
from .polygons import EdgeRule
from .references import Series, series_of
from .segmentation import read_segments, segment_names

_SIDE = r"(l|r|lt|rt|left|right)"
_NOT = r"(?!.*([cp]tv|minus|(?<![a-z])(no|not|ring)(?![a-z])))"
_PART = rf"([\s_.,:/()\[\]#-].*|\d.*|[lr]|{_SIDE}[\s_.-].*|left.*|right.*)?"
_NODE = (
    r"(nd?|l\.?n\.?s?|lks?|gg|gangl\w*|klier\w*|adp|ad[eé]nop\w*|[lr]?nod(es?|als?|us|i)"
    r"|lymph(?!om).*)"
)
_PLACE = (
    r"(mediastin\w*|hilar|subcarinal|paratracheal|supraclav\w*|positive|patholog\w*|enlarged"
    rf"|involved|\d{{1,2}}[a-z]?|{_SIDE})"
)
_NODE_PATTERNS: dict[str, int] = {
    # GTVn, GTV-N, GTV_LN2, iGTV node left, GTV-1_N, GTV_R_N, GTV70N, GTVnd, "GTV (nodal)"
    rf"{_NOT}(({_SIDE}|\d+)[\s_.-]+|\d)?[ir]?gt[vn][\s_.(-]*(\d+\s?(gy)?[\s_.-]*)?"
    rf"({_SIDE}[\s_.-]+|lt|rt|left|right)?{_NODE}{_PART}": 1,
    # nodal GTV, node GTV 2, LN GTV
    rf"{_NOT}(n|lns?|nod(es?|al|us|i))[\s_.-]*i?gtv([\s_.,(\[#-].*|\d.*|[lr])?": 1,
    # lymph node(s), Lymph_Nodes_3, mediastinal lymphadenopathy, Lymphknoten, adénopathie
    rf"{_NOT}(?!.*(level|elective)).*"
    r"(lymph[\s_.-]*(nod|gland)|lymph\w*adeno|ad[eé]nopat|lymphknoten).*": 1,
    # LN, LN2, LN_R, LNs left, mediastinal LN, 4R LN, LN 10R; not of a level, which is elective
    rf"({_PLACE}[\s_.-]+)*l\.?n\.?s?([\s_.-]*{_PLACE})*": 1,
    # node, nodes, Node 3, node_R, Lnode, left node, nodal mass
    rf"{_NOT}(?!.*(level|elective|ranvier))({_SIDE}[\s_.-]+)?[lr]?nodes?{_PART}": 1,
    rf"{_NOT}nodal[\s_.-]+(disease|mass|lesion|met|tumou?r).*": 1,
}
NODE_NAMES = {f"{REGEX}{pattern}": value for pattern, value in _NODE_PATTERNS.items()}
"""Names that nodes go by in public sets: the spellings of HECKTOR's MDA centre and their kin.

Gross disease alone: clinical target volumes (CTVn), planning volumes and elective levels are not
nodes, and a bare N says too little.
"""


@dataclass(frozen=True)
class DicomLabel:
    """What was drawn on one series.

    Attributes:
        series: SeriesInstanceUID.
        mask: uint8 `[D, H, W]` on the grid of the series; 0 background.
        names: Class of each region or segment that was taken.
        left_out: Names that no pattern matched, or that have class 0.
        unknown: Names that no pattern fits.
        notes: What was not as it should be.
    """

    series: str
    mask: np.ndarray
    names: dict[str, int]
    left_out: list[str]
    notes: list[Note]
    unknown: list[str] = field(default_factory=list)


@dataclass
class _Drawn:
    """What has been read of one series so far: one mask for each line of the table."""

    grid: Grid
    masks: dict[int, np.ndarray] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def read_labels(
    files: Sequence[Path],
    series: Series,
    names: Mapping[str, int],
    case: str | None = None,
    edge: EdgeRule = "half-open",
) -> list[DicomLabel]:
    """Read the labels of one patient, those of one series together.

    Args:
        files: RTSTRUCT and SEG files.
        series: By SeriesInstanceUID: grid and headers of each volume that a label may lie on.
        names: Class by a glob for the whole name, whatever its case (`GTVn*`), or by a regular
            expression after `re:`; the first that fits counts. Class 0 marks names as known and
            unwanted. Where classes overlap, the one whose pattern comes later in the table wins.
        case: For messages.
        edge: Rule for voxel centres exactly on a contour.

    Returns:
        One label for each series that something was drawn on, in the order of `series`. A file that
        belongs to a series that is not there is a note, as long as another file has its series.

    Raises:
        SettingsError: If a pattern or a class is no good.
        DataError: If the table is empty or matches no name at all (the names are listed), no file's
            series is there, or a file is damaged.
    """
    table = table_of(names)
    datasets = [(file, _open(file, case)) for file in files]
    found = {file: _names(dataset, file, case) for file, dataset in datasets}
    _require_match(names, table, found, case)
    drawn: dict[str, _Drawn] = {}
    missing: list[DataError] = []
    for file, dataset in datasets:
        lines = {number: line_of(table, name) for number, name in found[file].items()}
        known = [number for number, line in lines.items() if line is not None]
        if not known:
            # Nothing of the table: no reason to ask for its series.
            continue
        wanted = {n: line for n in known if (line := lines[n]) is not None and table[line][1]}
        try:
            with _whole(file, case):
                uid = series_of(dataset, list(wanted) or known, series, file=file, case=case)
        except DataError as error:
            missing.append(error)
            continue
        one = drawn.setdefault(uid, _Drawn(series[uid][0]))
        with _whole(file, case):
            _draw(dataset, file, wanted, found[file], one, (case, edge))
        one.names |= {found[file][n]: table[line][1] for n, line in wanted.items()}
    if missing and not drawn:
        raise missing[0]
    every = [name for numbers in found.values() for name in numbers.values()]
    told = overlaps(names, table, every)
    unknown = [name for name in dict.fromkeys(every) if line_of(table, name) is None]
    for one in drawn.values():
        one.notes.extend(told)
        one.unknown = unknown
        one.notes.extend(Note("warning", "labels left out", f"left out: {e}") for e in missing)
    return [_label(uid, drawn[uid], table) for uid in series if uid in drawn]


def label_names(file: Path, case: str | None = None) -> list[str]:
    """Return the names of the regions or segments in a file."""
    return list(_names(_open(file, case), file, case).values())


def _no_dicom(file: Path, case: str | None, found: str) -> DataError:
    return DataError(
        "a label must be DICOM",
        case=case,
        file=file,
        found=found,
        remedy="export it again, or give a mask as .nii.gz",
    )


def _open(file: Path, case: str | None) -> Dataset:
    try:
        # Some tools leave out the preamble; what is no DICOM has no modality.
        dataset = dcmread(file, force=True)
        dataset.get("Modality")
    except (OSError, EOFError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise _no_dicom(file, case, " ".join(str(error).split())[:200]) from error
    if "Modality" not in dataset:
        raise _no_dicom(file, case, "no modality")
    if str(dataset.get("Modality")) not in ("RTSTRUCT", "SEG"):
        raise DataError(
            "a label must be an RTSTRUCT or a SEG",
            case=case,
            file=file,
            found=f"modality {dataset.get('Modality')}",
            remedy="give the file of the contours, not of the scan",
        )
    return dataset


def _names(dataset: Dataset, file: Path, case: str | None) -> dict[int, str]:
    with _whole(file, case):
        return roi_names(dataset) if dataset.Modality == "RTSTRUCT" else segment_names(dataset)


@contextmanager
def _whole(file: Path, case: str | None) -> Iterator[None]:
    """Turn what a damaged file makes pydicom and numpy raise into one line."""
    try:
        yield
    except UserError:
        raise
    # pydicom decodes sequences when they are first asked for: the end of a file shows only here.
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, OSError) as error:
        raise DataError(
            "a label must be whole",
            case=case,
            file=file,
            found=" ".join(str(error).split())[:200],
            remedy="export it again",
        ) from error


def _require_match(
    names: Mapping[str, int],
    table: Table,
    found: Mapping[Path, Mapping[int, str]],
    case: str | None,
) -> None:
    every = list(dict.fromkeys(name for names in found.values() for name in names.values()))
    if found and not any(line_of(table, name) is not None for name in every):
        rule = "the table of names must match a region" if table else "labels need a table of names"
        raise DataError(
            rule,
            case=case,
            file=next(iter(found)),
            found=f"regions {', '.join(map(repr, every)) or 'without names'}",
            remedy=remedy(names, every),
        )


def _draw(
    dataset: Dataset,
    file: Path,
    wanted: Mapping[int, int],
    names: Mapping[int, str],
    one: _Drawn,
    how: tuple[str | None, EdgeRule],
) -> None:
    """Add what one file holds to what is drawn on its series.

    Args:
        dataset: RTSTRUCT or SEG.
        file: Where it is from.
        wanted: Line of the table by number of region or segment.
        names: Name of each number.
        one: What is drawn on the series so far.
        how: The case, for messages, and the rule for centres on a contour.
    """
    one.left_out.extend(name for number, name in names.items() if number not in wanted)
    case, edge = how
    reader = read_segments
    if dataset.Modality == "RTSTRUCT":
        reader = partial(read_contours, edge=edge)
    seen = set(one.names)
    for number, mask in reader(dataset, list(wanted), one.grid, one.notes, file=file, case=case):
        name, line = names[number], wanted[number]
        if not mask.any():
            text = f"{name!r}: covers the centre of no voxel"
            one.notes.append(Note("warning", "regions too small for a voxel", text))
        if name in seen:
            text = f"{name!r}: drawn more than once, taken together"
            one.notes.append(Note("warning", "regions drawn more than once", text))
        seen.add(name)
        one.masks[line] = one.masks[line] | mask if line in one.masks else mask


def _label(uid: str, drawn: _Drawn, table: Table) -> DicomLabel:
    """Paint the masks in the order of the table."""
    mask, notes = np.zeros(drawn.grid.shape, np.uint8), drawn.notes
    for line in sorted(drawn.masks):
        value, region = table[line][1], drawn.masks[line]
        over = int(np.sum((mask[region] != 0) & (mask[region] != value)))
        if over:
            text = f"class {value} overlaps others in {over} voxels and takes them"
            notes.append(Note("warning", "classes that overlap", text))
        mask[region] = value
    return DicomLabel(uid, mask, drawn.names, drawn.left_out, notes, drawn.unknown)
