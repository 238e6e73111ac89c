"""Import ULS23: boxes of CT around one lesion each, of public and of new sources.

`ULS23/{novel_data,processed_data/<how>_annotated}/<source>/images/<name>.nii.gz` with the mask of
the same name in `labels`, or in `labels_grabcut` where it was grown from a measurement.
"""

from __future__ import annotations

import re
from pathlib import Path

from hilum.core.case import Case
from hilum.core.notes import Note

from ..source import Imported, Source, collect, find_root, folders, scans_in, volumes_of

WORDS = {"image": "ct", "labels": "label", "labels_grabcut": "label"}
_EXPECTED = "<source>/images and <source>/labels, as in novel_data/ULS23_DeepLesion3D"
_DEPTH = 3
"""Folders from the root of the release to a source."""
_DEEP_LESION = re.compile(r"(\d{6})_\d\d_\d\d_\d+")
_LESION = re.compile(r"_(lesion|sample)_.*")


def import_uls23(source: Source) -> Imported:
    """Read every source; its name becomes the site, and every label is partial.

    One lesion of each box is marked, and others in it are not. Boxes of one patient share it: the
    part of the name before `_lesion_`; patients of DeepLesion are the same in both of its sources.
    Masks grown from a measurement (`labels_grabcut`) are noted; `--name labels_grabcut=` leaves
    these boxes unlabelled.
    """
    root = find_root(source.root, lambda path: bool(_sources(path)), _EXPECTED)
    words = source.words(WORDS)
    items, alone = {}, 0
    for place in _sources(root):
        for name, files in _boxes(place).items():
            if "image" in files:
                items[f"{place.name}_{name}"] = (place.name, name, files)
            else:
                alone += 1

    def make(case: str, item: tuple[str, str, dict[str, Path]]) -> Case:
        site, name, files = item
        volumes, label = volumes_of(files, words, case)
        return Case(case, patient_of(name), volumes, label, site, partial=label is not None)

    found = collect(items, make)
    if alone:
        # The masks are one download, the scans are six.
        text = f"{alone} masks have no scan in images and were passed over"
        found.notes.append(Note("warning", "masks without a scan", text))
    grown = sum(c.label is not None and c.label.parent.name != "labels" for c in found.cases)
    if grown:
        text = f"{grown} masks were grown from a measurement; --name labels_grabcut= skips them"
        found.notes.append(Note("warning", "masks that nobody drew", text))
    return found.raise_if_empty(_EXPECTED, root)


def patient_of(name: str) -> str:
    """Return the patient of a box by its name.

    Examples:
        >>> patient_of("000010_02_02_100_lesion_01")
        'deeplesion_000010'
        >>> patient_of("lidcidri_100_lesion_02_sample_0")
        'lidcidri_100'
    """
    if match := _DEEP_LESION.match(name):
        return f"deeplesion_{match[1]}"
    return _LESION.sub("", name)


def _sources(root: Path, depth: int = _DEPTH) -> list[Path]:
    """Return the folders of sources here and below."""
    if (root / "images").is_dir():
        return [root]
    if depth == 0:
        return []
    return [place for child in folders(root) for place in _sources(child, depth - 1)]


def _boxes(place: Path) -> dict[str, dict[str, Path]]:
    """Return the scan and the mask of each box of a source by its name; a drawn mask counts."""
    found: dict[str, dict[str, Path]] = {}
    for word, folder in (("image", "images"), ("labels", ""), ("labels_grabcut", "")):
        inside = place / (folder or word)
        for stem, file in (scans_in(inside) if inside.is_dir() else {}).items():
            files = found.setdefault(stem.removesuffix("_0000"), {})
            if "labels" not in files:
                files[word] = file
    return found
