"""The manifest: a CSV file with one row per case, the one internal form of every layout."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hilum.core.case import IGNORE, Case
from hilum.core.errors import DataError, SettingsError
from hilum.core.files import atomic_path
from hilum.core.modality import modality

OTHER = ("case", "patient", "label", "site", "split", "partial", "annotated", "anatomy")
"""Columns that are no modality."""
RATER = "label_"
"""Begins the name of the column of a rater's labels, as in `label_anna`."""

_SPLITS = ("", "train", "test")
_PARTIAL = {
    "": False,
    "0": False,
    "no": False,
    "false": False,
    "1": True,
    "yes": True,
    "true": True,
}
RESERVED = {"con", "prn", "aux", "nul"}
"""What Windows takes for devices, whatever the ending."""
TAKEN = {"store.json", "prepare.json", "lock", "lock.claim"}
"""What lies beside the folders of the cases in a case store."""
MAPS = ("_probability", "_uncertainty")
"""Endings of the maps that a prediction writes beside the mask of a case."""


def read_manifest(path: str | Path) -> list[Case]:
    """Read the cases of a cohort.

    Paths are relative to the folder of the manifest. Without a column `patient`, each case is a
    patient of its own. Columns may be in any order, and in capitals.

    Raises:
        DataError: With the number of the line, if a row breaks a rule.
    """
    cases, errors = scan_manifest(path)
    if errors:
        raise errors[0]
    return cases


def scan_manifest(path: str | Path) -> tuple[list[Case], list[DataError]]:
    """Read the sound rows of a manifest, and the error of each other row.

    Raises:
        DataError: If the file or its header leaves no row to read.
    """
    path = Path(path)
    cases: list[Case] = []
    errors: list[DataError] = []
    seen: dict[str, int] = {}
    for number, row in _rows(path):
        try:
            case = case_of_row(row, f"{path}, line {number}", path.parent)
            # Some file systems hold `A` and `a` to be one folder.
            first = seen.setdefault(case.id.casefold(), number)
            if first != number:
                raise DataError(
                    "a case may stand in one row only",
                    case=case.id,
                    file=path,
                    found=f"lines {first} and {number}",
                    remedy="rename or remove one",
                )
            cases.append(case)
        except DataError as error:
            errors.append(error)
    if not cases and not errors:
        raise DataError("the manifest must have at least one case", file=path, remedy="add one")
    return cases, errors


def write_manifest(path: str | Path, cases: Sequence[Case]) -> Path:
    """Write cases; paths inside the manifest's folder become relative, so that it can move.

    The columns `partial`, `annotated`, `anatomy` and those of raters are there only if a case has
    it.
    """
    path = Path(path)
    raters = list(dict.fromkeys(name for case in cases for name in case.raters))
    modalities = list(dict.fromkeys(name for case in cases for name in case.volumes))
    extra = ("partial", "annotated", "anatomy")
    last = [name for name in extra if any(getattr(case, name) for case in cases)]
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        more = [*last, *(RATER + name for name in raters)]
        writer.writerow(["case", "patient", *modalities, "label", "site", "split", *more])
        for case in cases:
            files = [case.volumes.get(name) for name in modalities]
            row = [_relative(file, path.parent) for file in [*files, case.label]]
            more = {
                "partial": "yes" if case.partial else "",
                "annotated": " ".join(map(str, case.annotated)),
                "anatomy": _relative(case.anatomy, path.parent),
            }
            rest = [more[name] for name in last]
            rest += [_relative(case.raters.get(name), path.parent) for name in raters]
            writer.writerow([case.id, case.patient, *row, case.site, case.split, *rest])
    return path


def notes_file(manifest: str | Path) -> Path:
    """Return where what the user should know of a manifest's cases is kept, next to it."""
    manifest = Path(manifest)
    return manifest.with_name(f"{manifest.stem}.notes.json")


def check_id(name: str, file: str | Path | None = None) -> str:
    """Return the name of a case, or raise an error if it cannot name a folder."""
    if (
        not name
        or name != name.strip()
        or re.search(r'[/\\:*?"<>|\x00-\x1f\x7f\ud800-\udfff]', name)
        or name[0] == "."
        or name[-1] == "."
        or name.split(".")[0].lower() in RESERVED
        or name.casefold() in TAKEN
        or name.casefold().endswith(MAPS)
        or len(name.encode("utf-8", "surrogatepass")) > 200
    ):
        raise DataError(
            "the name of a case must be usable as the name of a folder",
            file=file,
            found=repr(name),
            remedy="use up to 200 letters, digits, spaces, - and _, and no name of a file of ours "
            f"({', '.join([*sorted(TAKEN), *(f'*{end}' for end in MAPS)])})",
        )
    return name


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row's line number and cells by column; blank rows are left out."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            # `strict`, or an open quote would swallow the rest of the file as one cell.
            reader = csv.reader(stream, strict=True)
            columns = _columns(next(reader, []), path)
            for row in reader:
                cells = [cell.strip() for cell in row]
                if any(cells):
                    cells += [""] * (len(columns) - len(cells))
                    yield (
                        reader.line_num,
                        {"": "".join(cells[len(columns) :])}
                        | dict(zip(columns, cells, strict=False)),
                    )
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise DataError(
            "the manifest must be a file", file=path, remedy="make one with `hilum import`"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            "the manifest must be CSV in UTF-8",
            file=path,
            found=error,
            remedy="save it as CSV, separated by commas, in UTF-8",
        ) from None


def _columns(names: Sequence[str], path: Path) -> list[str]:
    columns = [name.strip().lower() for name in names]
    found = ", ".join(columns)
    if "case" not in columns:
        remedy = "separate columns with commas" if re.search(r"[;\t]", found) else None
        raise DataError(
            "the manifest must have a column 'case'", file=path, found=found, remedy=remedy
        )
    if len(set(columns)) < len(columns):
        raise DataError("a column may stand once only", file=path, found=found, remedy="rename one")
    if RATER in columns:
        raise DataError(
            f"a column {RATER} must name a rater", file=path, found=found, remedy="as in label_anna"
        )
    modalities = [name for name in columns if name not in OTHER and not name.startswith(RATER)]
    for name in modalities:
        try:
            modality(name)
        except SettingsError as error:
            raise DataError(
                f"column {name!r}: {error.rule}", file=path, remedy=error.remedy
            ) from None
    if not modalities:
        raise DataError(
            "the manifest must have a column for a modality",
            file=path,
            found=found,
            remedy="name it ct, pet, mr_t1, ...",
        )
    return columns


def case_of_row(row: dict[str, str], where: str, folder: Path) -> Case:
    """Return the case of one row.

    Args:
        row: Cells by column; under the empty name, what stood beyond the last column.
        where: File and line, for messages.
        folder: What paths are relative to.
    """
    name = check_id(row["case"], where)
    if row[""]:
        raise DataError(
            "a row may have as many cells as there are columns",
            case=name,
            file=where,
            found=repr(row[""]),
            remedy="quote a path that has a comma",
        )
    volumes = {
        key: _absolute(cell, folder)
        for key, cell in row.items()
        if cell and key and key not in OTHER and not key.startswith(RATER)
    }
    if not volumes:
        raise DataError(
            "a case must have at least one modality",
            case=name,
            file=where,
            found="none",
            remedy="fill in a path, or remove the row",
        )
    split = row.get("split", "").lower()
    if split not in _SPLITS:
        raise DataError(
            "split must be train, test or empty",
            case=name,
            file=where,
            found=repr(split),
            remedy="mend the column split",
        )
    partial = row.get("partial", "").lower()
    if partial not in _PARTIAL:
        raise DataError(
            "partial must be yes, no or empty",
            case=name,
            file=where,
            found=repr(partial),
            remedy="mend the column partial",
        )
    return Case(
        id=name,
        patient=row.get("patient") or name,
        volumes=volumes,
        label=_absolute(row["label"], folder) if row.get("label") else None,
        site=row.get("site", ""),
        split=split,
        partial=_PARTIAL[partial],
        annotated=_annotated(row, name, where),
        anatomy=_absolute(row["anatomy"], folder) if row.get("anatomy") else None,
        raters={
            key.removeprefix(RATER): _absolute(cell, folder)
            for key, cell in row.items()
            if cell and key.startswith(RATER)
        },
    )


def _annotated(row: dict[str, str], name: str, where: str) -> tuple[int, ...]:
    """Return the classes that a label was drawn for, as in `1 3`."""
    words = row.get("annotated", "").replace(";", " ").split()
    drawn = any(row.get(key) for key in row if key == "label" or key.startswith(RATER))
    if words and not drawn:
        raise DataError("annotated needs a label", case=name, file=where, remedy="give the label")
    if not all(word.isdigit() and 0 < int(word) < IGNORE for word in words):
        raise DataError(
            "annotated must hold numbers of classes, 1 or above",
            case=name,
            file=where,
            found=repr(row["annotated"]),
            remedy="write them with spaces, as in 1 3; leave it empty if all were looked for",
        )
    return tuple(sorted({int(word) for word in words}))


def _absolute(text: str, folder: Path) -> Path:
    return Path(os.path.normpath(folder / text))


def _relative(file: Path | None, folder: Path) -> str:
    if file is None:
        return ""
    file, folder = Path(os.path.abspath(file)), Path(os.path.abspath(folder))  # noqa: PTH100
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else str(file)
