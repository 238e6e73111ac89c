"""Import a folder of cases: `<root>/<case>/{ct,pet,mr_t1,...,label}.nii.gz`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ..core.case import Case
from ..core.errors import DataError, SettingsError
from ..core.modality import modality
from .manifest import check_id
from .nifti import ENDINGS

_MASK = re.compile(r"(^|_)(label|mask|seg|segmentation|roi|lesion|node)s?(_|$)")


def import_folder(root: Path, name_map: Mapping[str, str] | None = None) -> list[Case]:
    """Read every sub-folder that holds a file named after a modality.

    Other files, such as `label_pet.nii.gz` on another grid, are left alone. A case may lack a
    modality or the label.

    Args:
        root: The folder above the cases.
        name_map: Names of files without ending that mean a modality or the label, as in
            `{"suv": "pet", "gtv": "label"}`; compared in lower case.

    Raises:
        DataError: If the folder holds no case, or a case holds one modality twice.
    """
    names = {key.lower(): value for key, value in (name_map or {}).items()}
    if not root.is_dir():
        raise DataError("the folder must exist", file=root)
    cases = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        files = {} if folder.name.startswith(".") else _files(folder, names)
        label = files.pop("label", None)
        if files:
            name = check_id(folder.name, folder)
            cases.append(Case(id=name, patient=name, volumes=files, label=label))
    if not cases:
        raise DataError(
            "the folder must hold a folder per case with ct.nii.gz, pet.nii.gz, ...",
            file=root,
            found="none",
            remedy="give the folder above the cases, or see `hilum list formats`",
        )
    return cases


def _files(folder: Path, names: Mapping[str, str]) -> dict[str, Path]:
    """Return the file of each modality and of the label."""
    files: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        stem = _stem(file)
        name = names.get(stem, stem)
        if name != "label" and not (name and _is_modality(name)):
            continue
        if name in files:
            raise DataError(
                f"a case may hold one file for {name}",
                case=folder.name,
                file=folder,
                found=f"{files[name].name} and {file.name}",
                remedy="remove one",
            )
        files[name] = file
    return files


def _stem(file: Path) -> str:
    """Return the name without `.nii` or `.nii.gz`, or nothing for other files."""
    ending = next((end for end in ENDINGS if file.name.lower().endswith(end)), None)
    return file.name[: -len(ending)].lower() if ending and not file.name.startswith(".") else ""


def _is_modality(name: str) -> bool:
    """Say whether a file is a scan; `ct_seg` is none."""
    try:
        modality(name)
    except SettingsError:
        return False
    return not _MASK.search(name)
