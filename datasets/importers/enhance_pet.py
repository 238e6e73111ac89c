"""Import ENHANCE.PET 1.6k: FDG-PET/CT without lesions marked, a pool to pretrain on.

`imaging-data/images/{CT_0001-1000,CT_1001-1683,PT_0001-1683}/NNNN.nii.gz` (another release: `CT`,
`PT`), `CT-details.xlsx` and `PT-details.xlsx`. The organ masks in `ground-truth` are no label here.
"""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.files import atomic_path
from hilum.core.notes import Note

from ..io.spreadsheet import read_sheet
from ..source import Imported, Source, collect, find_root, folders, scans_in, volumes_of

WORDS = {"ct": "ct", "pt": "pet"}
NON_COMMERCIAL, OPEN = "CC BY-NC 4.0", "CC BY 4.0"
_TABLES = ("PT-details.xlsx", "CT-details.xlsx")
_EXPECTED = "imaging-data/images/{CT_0001-1000,CT_1001-1683,PT_0001-1683}"


def import_enhance_pet(source: Source) -> Imported:
    """Read every subject; its `Data-Source` becomes the site, with the licence in `licences.csv`.

    The autoPET part may not be used commercially. PET is taken as it is: `hilum check` finds the
    volumes that are not SUV.
    """
    root = find_root(source.root, lambda path: bool(_groups(path)), _EXPECTED)
    items: dict[str, dict[str, Path]] = {}
    for folder in _groups(root):
        for stem, file in scans_in(folder).items():
            items.setdefault(stem, {})[folder.name[:2].lower()] = file
    sites, words = _sites(root), source.words(WORDS)

    def make(case: str, files: dict[str, Path]) -> Case:
        volumes, _ = volumes_of(files, words, case)
        return Case(case, case, volumes, site=sites.get(_number(case), ""))

    found = collect(dict(sorted(items.items())), make).raise_if_empty(_EXPECTED, root)
    _write_licences(source, found)
    return found


def licence_of(data_source: str) -> str:
    """Return the licence of a `Data-Source`; empty if the source is not known."""
    text = data_source.lower().replace("-", "").replace(" ", "")
    if "autopet" in text or "tcia" in text:
        return NON_COMMERCIAL
    return OPEN if any(name in text for name in ("leipzig", "careggi", "davis")) else ""


def _groups(path: Path) -> list[Path]:
    images = path / "imaging-data" / "images"
    return [f for f in folders(images) if f.name in ("CT", "PT") or f.name[:3] in ("CT_", "PT_")]


def _sites(root: Path) -> dict[int, str]:
    """Return the `Data-Source` of each subject's number, from the first table that has one."""
    for name in _TABLES:
        if not (root / name).is_file():
            continue
        try:
            rows = read_sheet(root / name)
        except DataError:
            continue
        head = [cell.strip().lower().replace("_", "-").replace(" ", "-") for cell in rows[0]]
        if "data-source" in head:
            column = head.index("data-source")
            return {_number(row[0]): row[column].strip() for row in rows[1:] if _number(row[0])}
    return {}


def _number(text: str) -> int:
    """Return `0012`, `12.0` or `0012.nii.gz` as 12, and 0 for other text."""
    digits = text.strip().split(".")[0]
    return int(digits) if digits.isdigit() else 0


def _write_licences(source: Source, found: Imported) -> None:
    rows = [(case.id, case.site, licence_of(case.site) or "unknown") for case in found.cases]
    with (
        atomic_path(source.out / "licences.csv") as part,
        part.open("w", newline="", encoding="utf-8") as stream,
    ):
        csv.writer(stream).writerows([("case", "source", "licence"), *rows])
    count = Counter(licence for _, _, licence in rows)
    text = ", ".join(f"{name} {n}" for name, n in count.items())
    found.notes.append(Note("info", "licences", f"licences: {text}"))
