"""Name the files beside the scans of a case that no case uses: a modality or label may be lost."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from hilum.core.case import Case
from hilum.core.notes import Note

from ..io.nifti import ENDINGS


def unused_files(cases: Iterable[Case], known: Mapping[str, str], *, own_names: bool) -> list[Note]:
    """Return a note for each case with NIfTI files in its folder that it does not use.

    Only folders that belong to one case are looked at. A word that `--name` maps to nothing
    (`--name word=`) is passed over on purpose.

    Args:
        cases: Of one import.
        known: Words of the user, in lower case, and what they mean.
        own_names: Whether the files are named by the user, not by a published layout, whose other
            files are known and are reported for information.
    """
    owners: dict[Path, dict[str, Case]] = defaultdict(dict)
    used: dict[Path, set[str]] = defaultdict(set)
    for case in cases:
        for file in case.files.values():
            owners[file.parent][case.id] = case
            used[file.parent].add(file.name)
    notes = []
    for folder, own in owners.items():
        if len(own) > 1 or not folder.is_dir():
            continue
        names = [
            _stem(file.name) for file in sorted(folder.iterdir()) if file.name not in used[folder]
        ]
        left = [name for name in names if name and known.get(name.lower()) != ""]
        if left:
            notes.append(_note(next(iter(own)), left, own_names))
    return notes


def _note(case: str, left: list[str], own_names: bool) -> Note:
    text = f"files passed over: {', '.join(left)}"
    if own_names:
        given = shlex.quote(f"{left[0]}=pet"), shlex.quote(f"{left[0]}=")
        text += f"; say what they are, as in --name {given[0]}, or --name {given[1]} to skip"
    return Note("warning" if own_names else "info", "files passed over", text, case)


def _stem(name: str) -> str:
    """Return the name of a NIfTI file without its ending, or nothing."""
    ending = next((end for end in ENDINGS if name.lower().endswith(end)), "")
    stem = name[: -len(ending)] if ending and name[0] != "." else ""
    # A name that is no UTF-8 must still be printed.
    return stem.encode("utf-8", "backslashreplace").decode()
