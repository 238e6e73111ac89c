"""The manifest: a CSV file with one row per case, the one internal form of every layout."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path

from ..core.case import Case
from ..core.errors import DataError, SettingsError
from ..core.files import atomic_path
from ..core.modality import modality

_OTHER = ("case", "patient", "label", "site", "split")
_SPLITS = ("", "train", "test")


def read_manifest(path: str | Path) -> list[Case]:
    """Read the cases of a cohort.

    Paths are relative to the folder of the manifest. Without a column `patient`, each case is a
    patient of its own.

    Raises:
        DataError: With the number of the line, if a row breaks a rule.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            modalities = _modalities(columns, path)
            cases = [_case(row, number, modalities, path) for number, row in enumerate(reader, 2)]
    except (FileNotFoundError, IsADirectoryError):
        raise DataError(
            "the manifest must be a file", file=path, remedy="see hilum import"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError("the manifest must be CSV in UTF-8", file=path, found=error) from None
    if not cases:
        raise DataError("the manifest must have at least one case", file=path)
    seen: dict[str, int] = {}
    for number, case in enumerate(cases, 2):
        if case.id in seen:
            raise DataError(
                "a case may stand in one row only",
                case=case.id,
                file=path,
                found=f"lines {seen[case.id]} and {number}",
                remedy="rename or remove one",
            )
        seen[case.id] = number
    return cases


def write_manifest(path: str | Path, cases: Sequence[Case]) -> Path:
    """Write cases; paths inside the manifest's folder become relative, so that it can move."""
    path = Path(path)
    modalities = list(dict.fromkeys(name for case in cases for name in case.volumes))
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "patient", *modalities, "label", "site", "split"])
        for case in cases:
            files = [case.volumes.get(name) for name in modalities]
            row = [_relative(file, path.parent) for file in [*files, case.label]]
            writer.writerow([case.id, case.patient, *row, case.site, case.split])
    return path


def check_id(name: str, file: str | Path | None = None) -> str:
    """Return the name of a case, or raise an error if it cannot name a folder."""
    if (
        not name
        or name != name.strip()
        or re.search(r'[/\\:*?"<>|\x00-\x1f]', name)
        or name[0] == "."
    ):
        raise DataError(
            "the name of a case must be usable as the name of a folder",
            file=file,
            found=repr(name),
            remedy="use letters, digits, spaces, - and _",
        )
    return name


def _modalities(columns: list[str], path: Path) -> list[str]:
    if "case" not in columns:
        raise DataError(
            "the manifest must have a column 'case'", file=path, found=", ".join(columns)
        )
    names = [name for name in columns if name not in _OTHER]
    for name in names:
        try:
            modality(name)
        except SettingsError as error:
            raise DataError(
                f"column {name!r}: {error.rule}", file=path, remedy=error.remedy
            ) from None
    if not names:
        raise DataError(
            "the manifest must have a column for a modality", file=path, remedy="as in ct"
        )
    return names


def _case(row: dict[str, str | None], number: int, modalities: list[str], path: Path) -> Case:
    value = {key: (text or "").strip() for key, text in row.items() if isinstance(text, str | None)}
    where = f"{path}, line {number}"
    name = check_id(value["case"], where)
    volumes = {key: _absolute(value[key], path.parent) for key in modalities if value.get(key)}
    if not volumes:
        raise DataError("a case must have at least one modality", case=name, file=where)
    split = value.get("split", "")
    if split not in _SPLITS:
        raise DataError(
            "split must be train, test or empty", case=name, file=where, found=repr(split)
        )
    return Case(
        id=name,
        patient=value.get("patient") or name,
        volumes=volumes,
        label=_absolute(value["label"], path.parent) if value.get("label") else None,
        site=value.get("site", ""),
        split=split,
    )


def _absolute(text: str, folder: Path) -> Path:
    return Path(os.path.normpath(folder / text))


def _relative(file: Path | None, folder: Path) -> str:
    if file is None:
        return ""
    file, folder = Path(os.path.abspath(file)), Path(os.path.abspath(folder))  # noqa: PTH100
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else str(file)
