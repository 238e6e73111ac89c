"""Name the files next to the scans of a case that no case uses: a modality or label may be lost.

`label_<scan>`, on the grid of another scan of a case that has its label, is known: `hilum check`
compares it with the label, and the note is for information.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from hilum.core.case import Case
from hilum.core.notes import Note

from ..source import stem_of


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
        (case,) = own.values()
        names = [_stem(file) for file in sorted(folder.iterdir()) if file.name not in used[folder]]
        left = [name for name in names if name and known.get(name.lower()) != ""]
        second = [name for name in left if _is_second_label(name, case)]
        left = [name for name in left if name not in second]
        if second:
            text = f"{', '.join(second)} beside the label, which `hilum check` compares"
            notes.append(Note("info", "labels of other scans", text, case.id))
        if left:
            notes.append(_note(case.id, left, own_names))
    return notes


def _is_second_label(name: str, case: Case) -> bool:
    """Say whether a file is the label as drawn on another scan of a case, by its name."""
    scans = {*case.volumes, *(stem_of(file) for file in case.volumes.values())}
    word, _, scan = name.lower().partition("_")
    return bool(case.label) and word == "label" and scan in {scan.lower() for scan in scans}


def _note(case: str, left: list[str], own_names: bool) -> Note:
    text = f"files passed over: {', '.join(left)}"
    if own_names:
        means = "label" if left[0].lower().startswith("label") else "pet"
        given = shlex.quote(f"{left[0]}={means}"), shlex.quote(f"{left[0]}=")
        text += f"; say what they are, as in --name {given[0]}, or --name {given[1]} to skip"
    return Note("warning" if own_names else "info", "files passed over", text, case)


def _stem(file: Path) -> str:
    """Return the name of a NIfTI file without its ending, as text that can be printed."""
    return stem_of(file).encode("utf-8", "backslashreplace").decode()
