"""Import HECKTOR 2022, 2025, 2026: head and neck FDG-PET/CT, label 1 GTVp, 2 GTVn, on the CT.

2022: `imagesTr/<CENTRE-NNN>__{CT,PT}.nii.gz`, `labelsTr/<CENTRE-NNN>.nii.gz`, the same with `Ts`.
2025: `Task 1/<CENTRE-NNN>/{<id>__CT,<id>__PT,<id>}.nii.gz`; `Task 2` adds `__CTPlanning` and
`__RTDOSE`, which are passed over unless they are given names. 2026: as 2025, without the tasks.
"""

from __future__ import annotations

from pathlib import Path

from hilum.core.case import Case

from ..source import Imported, Source, collect, find_root, folders, scans_in, stem_of, volumes_of

WORDS = {"ct": "ct", "pt": "pet", "": "label"}
_EXPECTED = (
    "imagesTr with <CENTRE-NNN>__CT.nii.gz (2022) or <CENTRE-NNN>/<CENTRE-NNN>__CT.nii.gz (later)"
)


def import_hecktor(source: Source) -> Imported:
    """Read any year. PET is SUV already, on its own grid; the centre becomes the site."""
    root = _task_1(source.root)
    root = find_root(root, lambda path: _is_2022(path) or _is_later(path), _EXPECTED)
    items = _of_2022(root) if _is_2022(root) else _of_later(root)
    words = source.words(WORDS)

    def make(case: str, item: tuple[dict[str, Path], str]) -> Case:
        files, split = item
        volumes, label = volumes_of(files, words, case)
        return Case(case, case, volumes, label, case.split("-")[0], split)

    return collect(items, make).raise_if_empty(_EXPECTED, root)


def _task_1(root: Path) -> Path:
    """Return the folder of task 1, whose cases are all labelled, given any folder above it."""
    for path in (root, *folders(root)):
        if (path / "Task 1").is_dir():
            return path / "Task 1"
    return root


def _is_2022(path: Path) -> bool:
    return any("__" in stem_of(file) for file in (path / "imagesTr").glob("*"))


def _is_later(path: Path) -> bool:
    return any(
        stem_of(file).startswith(f"{child.name}__")
        for child in folders(path)
        for file in child.iterdir()
    )


def _of_2022(root: Path) -> dict[str, tuple[dict[str, Path], str]]:
    items: dict[str, tuple[dict[str, Path], str]] = {}
    for part, split in (("Tr", "train"), ("Ts", "test")):
        labels = scans_in(root / f"labels{part}") if (root / f"labels{part}").is_dir() else {}
        for file in sorted((root / f"images{part}").glob("*")):
            case, _, word = stem_of(file).partition("__")
            if word:
                files, _ = items.setdefault(case, ({}, split))
                files[word.lower()] = file
                if case.lower() in labels:
                    files[""] = labels[case.lower()]
    return items


def _of_later(root: Path) -> dict[str, tuple[dict[str, Path], str]]:
    items: dict[str, tuple[dict[str, Path], str]] = {}
    for folder in folders(root):
        words = {
            stem.removeprefix(folder.name.lower()).removeprefix("__"): file
            for stem, file in scans_in(folder).items()
            if stem.startswith(folder.name.lower())
        }
        if words:
            items[folder.name] = (words, "train")
    return items
