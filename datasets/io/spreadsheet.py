"""Read the cells of a simple .xlsx file, without a library for it."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree

from hilum.core.errors import DataError

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def read_sheet(path: Path) -> list[list[str]]:
    """Return the rows of the first sheet as text, all of one length; dates stay numbers.

    Raises:
        DataError: If the file cannot be read or has no row.

    Source:
        ECMA-376 part 1, 18.3 (worksheets) and 18.4 (shared strings).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            shared = _shared(archive)
            names = [n for n in archive.namelist() if re.fullmatch(r"xl/worksheets/.*\.xml", n)]
            first = "xl/worksheets/sheet1.xml"
            sheet = ElementTree.fromstring(archive.read(first if first in names else min(names)))
            rows = [_row(row, shared) for row in sheet.iter(f"{_MAIN}row")]
    except (OSError, zipfile.BadZipFile, ElementTree.ParseError, KeyError, ValueError) as error:
        raise DataError(
            "the table must be .xlsx", file=path, found=error, remedy="save it as .xlsx or CSV"
        ) from error
    width = max((len(row) for row in rows), default=0)
    if not width:
        raise DataError(
            "the table must have rows",
            file=path,
            found="none",
            remedy="write a line per case below the head",
        )
    return [row + [""] * (width - len(row)) for row in rows]


def _shared(archive: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in archive.namelist():
        return []
    root = ElementTree.fromstring(archive.read("xl/sharedStrings.xml"))
    return [_text(item) for item in root.iter(f"{_MAIN}si")]


def _text(item: ElementTree.Element) -> str:
    return "".join(part.text or "" for part in item.iter(f"{_MAIN}t"))


def _row(row: ElementTree.Element, shared: list[str]) -> list[str]:
    cells: list[str] = []
    for cell in row.iter(f"{_MAIN}c"):
        letters = re.match(r"[A-Z]+", cell.get("r", ""))
        place = _column(letters[0]) if letters else len(cells)
        # Empty cells are left out of the file.
        cells += [""] * (place - len(cells))
        cells.append(_value(cell, shared))
    return cells


def _value(cell: ElementTree.Element, shared: list[str]) -> str:
    if cell.get("t") == "inlineStr":
        return _text(cell)
    value = cell.findtext(f"{_MAIN}v", "")
    return shared[int(value)] if cell.get("t") == "s" else value


def _column(letters: str) -> int:
    """Return the place of a column from its letters: `A` is 0, `AA` is 26."""
    place = 0
    for letter in letters:
        place = place * 26 + ord(letter) - ord("A") + 1
    return place - 1
