"""Import any table of files: CSV, TSV or semicolons, with a mapping of its columns.

Cells may name NIfTI files or folders of DICOM. The `metadata.csv` of a download from TCIA, a row
for each series, is known by its columns.
"""

from __future__ import annotations

import csv
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from hilum.core.case import Case
from hilum.core.errors import DataError, SettingsError
from hilum.core.modality import modality
from hilum.core.notes import Note
from hilum.core.settings import Settings

from ..conversion import Conversion, convert
from ..dicom.case import labelled
from ..dicom.folders import conversion_of_folders, is_dicom
from ..dicom.headers import Found, crawl
from ..dicom.layout import import_found
from ..dicom.settings import DicomLayout
from ..manifest import OTHER, case_of_row
from ..source import Imported, LeftOut, Source, collect, stem_of

_SERIES, _LOCATION = "series uid", "file location"
"""Columns of the `metadata.csv` that the archive's downloader writes beside the series."""
_VISITS = (
    "study", "study uid", "study_uid", "studyinstanceuid", "study date", "study_date", "studydate",
    "session", "visit", "timepoint", "date",
)  # fmt: skip
"""Columns that tell several rows of one patient apart."""


class Table(Settings):
    """How to read the table."""

    folder: str = Field("", description="folder that paths are relative to; empty: the table's")
    separator: str = Field(
        "", description="between cells; empty: tab, semicolon or comma, by the header"
    )


def import_table(source: Source) -> Imported:
    """Read one case from each row, or of a table of series, one from each visit.

    Names map columns to modalities, `label`, `case`, `patient`, `site`, `split` or `partial`, as in
    `--name "CT file=ct"`, and those of several raters to `label_<rater>`; columns called so already
    (but for raters') need none, and all others are passed over.
    Without a column for the case, the patient names it, with the study, date or session of the row
    if a patient has several. Cells that name DICOM are converted; settings of the DICOM importer
    (`suv=`, `assume=`, `labels=`) are for them.

    Raises:
        DataError: If the table cannot be read, or no column leads to a scan.
    """
    theirs = [one for one in source.options if one.partition("=")[0] in DicomLayout.model_fields]
    ours = [one for one in source.options if one not in theirs]
    settings = replace(source, options=ours).settings(Table)
    rows = _rows(source.root, settings.separator)
    folder = source.root.parent / settings.folder
    source = replace(source, options=theirs)
    head = [_word(cell) for cell in rows[0]]
    if {_SERIES, _LOCATION} <= set(head):
        return _of_series(source, rows, head, folder)
    columns = _columns(rows[0], source.words({}), source.root)
    items, left_out = _items(source, rows, head, columns)

    def make(case: str, item: tuple[int, dict[str, str]]) -> Case:
        number, row = item
        row = {"patient": row.get("case", "")} | row | {"case": case}
        return case_of_row(row, f"{source.root}, row {number}", folder)

    read = collect(items, make)
    read.left_out.extend(left_out)
    read.notes.extend(_passed(rows, set(columns.values()), source.words({})))
    return _converted(source, read).raise_if_empty("a row for each case", source.root)


def head_of(file: Path) -> list[str]:
    """Return the names of the columns of a table, in lower case.

    Raises:
        DataError: If the table cannot be read.
    """
    return [_word(cell) for cell in _rows(file, "")[0]]


def _items(
    source: Source, rows: list[list[str]], head: list[str], columns: Mapping[str, int]
) -> tuple[dict[str, tuple[int, dict[str, str]]], list[LeftOut]]:
    """Return the number and the cells of each row by the name of its case."""
    found: dict[str, tuple[int, dict[str, str]]] = {}
    left_out: list[LeftOut] = []
    visit = next((head.index(word) for word in _VISITS if word in head), None)
    place = columns.get("patient")
    counts = Counter(
        row[place].strip() for row in rows[1:] if place is not None and place < len(row)
    )
    for number, cells in enumerate(rows[1:], 2):
        row = {"": ""} | {
            name: cells[at].strip() for name, at in columns.items() if at < len(cells)
        }
        name = row.get("case") or row.get("patient") or ""
        if not row.get("case") and counts[name] > 1 and visit is not None and visit < len(cells):
            name = f"{name}_{cells[visit].strip()}"
        if not name or name in found:
            rule = (
                "a row must name its case"
                if not name
                else (
                    "a case may stand in one row only; a column case, study or session tells rows"
                    " apart"
                )
            )
            text = f"{source.root}, row {number}: {rule}"
            left_out.append(LeftOut(name or f"row {number}", text))
            continue
        found[name] = number, row
    return found, left_out


def _converted(source: Source, read: Imported) -> Imported:
    """Convert the cases whose cells name DICOM; the others stay as they are."""
    conversions: list[Conversion] = []
    cases: dict[str, Case | None] = {}
    settings = source.settings(DicomLayout)
    for case in read.cases:
        folders = {name: file for name, file in case.volumes.items() if is_dicom(file)}
        label = case.label if case.label is not None and is_dicom(case.label) else None
        cases[case.id] = case if not folders else None
        if not folders:
            continue
        files = {name: file for name, file in case.volumes.items() if name not in folders}
        made = replace(case, volumes=files, label=None if label else case.label)
        try:
            conversions.append(conversion_of_folders(source, made, folders, settings, label))
        except DataError as error:
            read.left_out.append(LeftOut(case.id, str(error)))
    if source.options and not conversions:
        raise SettingsError(
            "settings of DICOM need DICOM",
            found=" ".join(source.options),
            remedy="leave them out: the files are no DICOM",
        )
    made = labelled(convert(source, conversions, Imported()), settings.labels)
    cases |= {case.id: case for case in made.cases}
    return replace(
        read,
        cases=[case for case in cases.values() if case is not None],
        left_out=[*read.left_out, *made.left_out],
        notes=[*read.notes, *made.notes],
    )


def _of_series(source: Source, rows: list[list[str]], head: list[str], folder: Path) -> Imported:
    """Import the visits of a table of series, as archives write it: a folder for each row."""
    place = head.index(_LOCATION)
    found, missing = Found(), []
    for cells in rows[1:]:
        text = cells[place].strip() if place < len(cells) else ""
        path = folder / text.replace("\\", "/")
        if not text or not path.is_dir():
            missing.append(text or "an empty cell")
            continue
        part = crawl(path)
        found.headers.extend(part.headers)
        found.other += part.other
        found.unreadable |= part.unreadable
        if source.progress:
            source.progress(len(found.headers), len(found.headers), "headers")
    imported = import_found(source, found)
    if missing:
        text = f"{len(missing)} of {len(rows) - 1} folders are not there, as {missing[0]}"
        imported.notes.append(Note("warning", "rows whose files are missing", text))
    return imported


def _rows(file: Path, separator: str) -> list[list[str]]:
    """Return the header and the rows that are not blank."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        raise DataError("the table must be a file", file=file, remedy="check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            "the table must be text in UTF-8", file=file, found=error, remedy="save it as UTF-8"
        ) from None
    head = text.partition("\n")[0]
    separator = separator or max("\t;,", key=head.count)
    try:
        rows = list(csv.reader(text.splitlines(keepends=True), delimiter=separator, strict=True))
    except (csv.Error, TypeError) as error:
        raise DataError(
            "the table must be CSV or TSV", file=file, found=error, remedy="save it as CSV again"
        ) from None
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if not rows:
        raise DataError(
            "the table must have rows",
            file=file,
            found="none",
            remedy="write a line per case below the head",
        )
    return rows


def _columns(head: list[str], words: Mapping[str, str], file: Path) -> dict[str, int]:
    """Return the place of each column that counts."""
    found: dict[str, int] = {}
    for place, cell in enumerate(head):
        word = _word(cell)
        name = words.get(word, word if _known(word) else "")
        if name and name in found:
            raise DataError(
                f"one column may be {name}",
                file=file,
                found=f"{head[found[name]]}, {cell}",
                remedy="rename or remove one of the columns",
            )
        if name:
            found[name] = place
    if not set(found) - set(OTHER) or not {"case", "patient"} & set(found):
        raise DataError(
            "the table must have a column for the case or patient and one for a modality",
            file=file,
            found=", ".join(cell.strip() for cell in head),
            remedy="map them, as in --name 'Subject=case' --name 'CT file=ct'",
        )
    return found


def _passed(rows: list[list[str]], used: set[int], words: Mapping[str, str]) -> list[Note]:
    """Return a note for each column of scans that means nothing here, and was not skipped."""
    notes = []
    for place, cell in enumerate(rows[0]):
        files = sum(bool(stem_of(Path(row[place]))) for row in rows[1:] if place < len(row))
        if place in used or not files or words.get(cell.strip().lower()) == "":
            continue
        name = shlex.quote(f"{cell.strip()}=pet"), shlex.quote(f"{cell.strip()}=")
        text = (
            f"column {cell.strip()!r} of {files} scans passed over; say what it is, as in --name "
            f"{name[0]}, or --name {name[1]} to skip"
        )
        notes.append(Note("warning", "columns passed over", text))
    return notes


def _known(word: str) -> bool:
    if word in OTHER:
        return True
    try:
        modality(word)
    except SettingsError:
        return False
    return True


def _word(cell: str) -> str:
    return cell.strip().lower()
