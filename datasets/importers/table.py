"""Import any table of files: CSV, TSV or semicolons, with a mapping of its columns."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from hilum.core.case import Case
from hilum.core.errors import DataError, SettingsError
from hilum.core.modality import modality
from hilum.core.settings import Settings

from ..manifest import OTHER, case_of_row
from .source import Imported, LeftOut, Source, collect


class Table(Settings):
    """How to read the table."""

    folder: str = Field("", description="folder that paths are relative to; empty: the table's")
    separator: str = Field(
        "", description="between cells; empty: tab, semicolon or comma, by the header"
    )


def import_table(source: Source) -> Imported:
    """Read one case from each row.

    Names map columns to modalities, `label`, `case`, `patient`, `site`, `split` or `partial`, as in
    `--name "CT file=ct"`; columns called so already need none, and all others are passed over.
    Without a column for the case, the patient names it.

    Raises:
        DataError: If the table cannot be read, or no column leads to a scan.
    """
    settings = source.settings(Table)
    rows = _rows(source.root, settings.separator)
    columns = _columns(rows[0], source.words({}), source.root)
    folder = source.root.parent / settings.folder
    found = Imported()
    items: dict[str, tuple[int, dict[str, str]]] = {}
    for number, cells in enumerate(rows[1:], 2):
        row = {"": ""} | {
            name: cells[place].strip() for name, place in columns.items() if place < len(cells)
        }
        name = row.get("case") or row.get("patient") or ""
        if not name or name in items:
            rule = "a row must name its case" if not name else "a case may stand in one row only"
            found.left_out.append(
                LeftOut(name or f"row {number}", f"{source.root}, row {number}: {rule}")
            )
            continue
        items[name] = number, row

    def make(case: str, item: tuple[int, dict[str, str]]) -> Case:
        number, row = item
        row = {"patient": row.get("case", "")} | row | {"case": case}
        return case_of_row(row, f"{source.root}, row {number}", folder)

    read = collect(items, make)
    read.left_out.extend(found.left_out)
    return read.raise_if_empty("a row for each case", source.root)


def _rows(file: Path, separator: str) -> list[list[str]]:
    """Return the header and the rows that are not blank."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        raise DataError("the table must be a file", file=file) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("the table must be text in UTF-8", file=file, found=error) from None
    head = text.partition("\n")[0]
    separator = separator or max("\t;,", key=head.count)
    try:
        rows = list(csv.reader(text.splitlines(keepends=True), delimiter=separator, strict=True))
    except (csv.Error, TypeError) as error:
        raise DataError("the table must be CSV or TSV", file=file, found=error) from None
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if not rows:
        raise DataError("the table must have rows", file=file, found="none")
    return rows


def _columns(head: list[str], words: Mapping[str, str], file: Path) -> dict[str, int]:
    """Return the place of each column that counts."""
    found: dict[str, int] = {}
    for place, cell in enumerate(head):
        word = cell.strip().lower()
        name = words.get(word, word if _known(word) else "")
        if name and name in found:
            raise DataError(
                f"one column may be {name}", file=file, found=f"{head[found[name]]}, {cell}"
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


def _known(word: str) -> bool:
    if word in OTHER:
        return True
    try:
        modality(word)
    except SettingsError:
        return False
    return True
