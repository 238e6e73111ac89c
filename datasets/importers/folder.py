"""Import a folder of cases: `<root>/<case>/{ct,pet,mr_t1,...,label}.nii.gz`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from hilum.core.case import Case
from hilum.core.errors import DataError, SettingsError
from hilum.core.modality import modality

from ..manifest import check_id
from ..source import Imported, LeftOut, Source, folders, scans_in, volumes_of

_MASK = re.compile(r"(^|_)(label|mask|seg|segmentation|roi|lesion|node)s?(_|$)")


def import_folder(source: Source) -> Imported:
    """Read every sub-folder that holds a file named after a modality.

    Other files, such as `label_pet.nii.gz` on another grid, are left alone. A case may lack a
    modality or the label. Names map files without ending, as in `{"suv": "pet", "gtv": "label"}`;
    compared in lower case.

    Raises:
        DataError: If the folder holds no case.
    """
    if not source.root.is_dir():
        raise DataError("no such folder", file=source.root, remedy="check the path")
    found = Imported()
    names = source.words({})
    for folder in folders(source.root):
        try:
            case = case_in(folder, names)
        except DataError as error:
            found.left_out.append(LeftOut(folder.name, str(error)))
            continue
        if case:
            found.cases.append(case)
        elif unknown := _unknown(folder, names):
            text = (
                f"no file is named after a modality: {', '.join(unknown)}; say what they are, as "
                f"in --name {unknown[0]}=pet"
            )
            found.left_out.append(LeftOut(folder.name, text))
    if not found.cases and not found.left_out:
        raise DataError(
            "the folder must hold a folder per case with ct.nii.gz, pet.nii.gz, ...",
            file=source.root,
            found="none",
            remedy="give the folder above the cases, or see `hilum list formats`",
        )
    return found.raise_if_empty("cases", source.root)


def case_in(folder: Path, names: Mapping[str, str]) -> Case | None:
    """Return the case of one folder, or nothing if no file is named after a modality.

    Args:
        folder: With the files right inside.
        names: What other names mean, in lower case without ending.

    Raises:
        DataError: If two files mean the same, or the folder cannot be read.
    """
    files = scans_in(folder)
    words = {stem: names.get(stem, stem if is_scan_or_label(stem) else "") for stem in files}
    if not any(name and name != "label" for name in words.values()):
        return None
    volumes, label = volumes_of(files, words, folder.name)
    name = check_id(folder.name, folder)
    return Case(id=name, patient=name, volumes=volumes, label=label)


def _unknown(folder: Path, names: Mapping[str, str]) -> list[str]:
    """Return the NIfTI files that are no modality and that the user did not name."""
    return [stem for stem in scans_in(folder) if stem != "label" and stem not in names]


def is_scan_or_label(name: str) -> bool:
    """Say whether a word names a modality or the label; `ct_seg` does neither."""
    if name == "label":
        return True
    try:
        modality(name)
    except SettingsError:
        return False
    return not _MASK.search(name)
