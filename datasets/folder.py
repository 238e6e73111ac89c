"""Import a folder of cases: `<root>/<case>/{ct,pet,mr_t1,...,label}.nii.gz`."""

from __future__ import annotations

from pathlib import Path

from ..core.case import Case
from ..core.errors import DataError, SettingsError
from ..core.modality import modality
from .manifest import check_id
from .nifti import ENDINGS


def import_folder(root: Path) -> list[Case]:
    """Read every sub-folder that holds a file named after a modality.

    Other files, such as `label_pet.nii.gz` on another grid, are left alone. A case may lack a
    modality or the label.

    Raises:
        DataError: If the folder holds no case.
    """
    if not root.is_dir():
        raise DataError("the folder must exist", file=root)
    cases = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        files = {_stem(file): file for file in sorted(folder.iterdir()) if _stem(file)}
        volumes = {name: file for name, file in files.items() if _is_modality(name)}
        if volumes:
            name = check_id(folder.name, folder)
            cases.append(Case(id=name, patient=name, volumes=volumes, label=files.get("label")))
    if not cases:
        raise DataError(
            "the folder must hold a folder per case with ct.nii.gz, pet.nii.gz, ...",
            file=root,
            found="none",
            remedy="give the folder above the cases, or see `hilum list formats`",
        )
    return cases


def _stem(file: Path) -> str:
    """Return the name without `.nii` or `.nii.gz`, or nothing for other files."""
    ending = next((end for end in ENDINGS if file.name.lower().endswith(end)), None)
    return file.name[: -len(ending)].lower() if ending and not file.name.startswith(".") else ""


def _is_modality(name: str) -> bool:
    try:
        modality(name)
    except SettingsError:
        return False
    return True
