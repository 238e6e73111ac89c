"""Import nnU-Net's raw layout: `imagesTr/<case>_0000.nii.gz`, `labelsTr`, `dataset.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.case import Case
from ..core.errors import DataError
from ..core.files import read_json
from ..core.modality import MODALITIES
from ..core.types import IGNORE
from .manifest import check_id
from .nifti import ENDINGS

CHANNELS = {
    "ct": "ct",
    "ct_hu": "ct",
    "pet": "pet",
    "pt": "pet",
    "suv": "pet",
    "pet_suv": "pet",
    "mr": "mr",
    "mri": "mr",
    "t1": "mr_t1",
    "t2": "mr_t2",
    "t1w": "mr_t1",
    "t2w": "mr_t2",
    "t1ce": "mr_t1ce",
    "flair": "mr_flair",
    "us": "us",
}
"""Names of channels seen in public datasets, in lower case, and what they are called here."""


def import_nnunet_raw(root: Path, name_map: Mapping[str, str] | None = None) -> list[Case]:
    """Read the cases of one dataset; `Tr` becomes `train` and `Ts` becomes `test`.

    The layout has no patients: each case counts as one. Where that is wrong, fill in the column
    `patient` of the manifest.

    Args:
        root: The folder `DatasetXXX_Name`.
        name_map: Modality of each name in `channel_names` that `CHANNELS` lacks.

    Source:
        nnU-Net v2, documentation, dataset format.
    """
    file = root / "dataset.json"
    if not root.is_dir():
        raise DataError("the folder must exist", file=root)
    description = read_json(file)
    if not isinstance(description, dict):
        raise DataError("dataset.json must describe a dataset", file=file)
    channels = _channels(description, file, name_map or {})
    ending = str(description.get("file_ending", ".nii.gz"))
    if ending not in ENDINGS:
        raise DataError(
            "file_ending must be .nii.gz or .nii",
            file=file,
            found=ending,
            remedy="convert the images to NIfTI",
        )
    _check_ignore(description, file)
    cases: list[Case] = []
    for part, split in (("Tr", "train"), ("Ts", "test")):
        images, labels = root / f"images{part}", root / f"labels{part}"
        if images.is_dir():
            cases += _read_part(images, labels, channels, ending, split)
    if not cases:
        raise DataError(
            "imagesTr must hold <case>_0000 files", file=root, found=f"none ending in {ending}"
        )
    return cases


def _read_part(
    images: Path, labels: Path, channels: dict[str, str], ending: str, split: str
) -> list[Case]:
    pattern = re.compile(rf"(.+)_\d{{4}}{re.escape(ending)}")
    found = (pattern.fullmatch(file.name) for file in images.iterdir())
    cases = []
    for name in sorted({match[1] for match in found if match and match[1][0] != "."}):
        files = {
            modality: images / f"{name}_{number}{ending}" for number, modality in channels.items()
        }
        missing = [file.name for file in files.values() if not file.exists()]
        if missing:
            raise DataError(
                "every channel of a case must be there",
                case=name,
                file=images,
                found=f"no {missing[0]}",
                remedy="copy it again, or remove the case",
            )
        label = labels / f"{name}{ending}"
        cases.append(
            Case(
                id=check_id(name, images),
                patient=name,
                volumes=files,
                label=label if label.exists() else None,
                split=split,
            )
        )
    return cases


def _channels(
    description: dict[str, Any], file: Path, name_map: Mapping[str, str]
) -> dict[str, str]:
    """Return `{"0000": "ct", ...}`."""
    names = description.get("channel_names") or description.get("modality")
    if not isinstance(names, dict) or not all(str(number).isdigit() for number in names):
        raise DataError(
            "dataset.json must have channel_names",
            file=file,
            found=names,
            remedy='as in {"0": "CT", "1": "PET"}',
        )
    known = CHANNELS | {key.strip().lower(): value for key, value in name_map.items()}
    channels = {}
    for number, name in names.items():
        key = str(name).strip().lower()
        known.setdefault(key, key if key.split("_")[0] in MODALITIES else "")
        if not known[key]:
            raise DataError(
                f"channel {number} must have a known name",
                file=file,
                found=repr(name),
                remedy=f"rename it there to one of {', '.join(CHANNELS)}, or import from Python "
                f"with name_map={{{name!r}: 'ct'}}",
            )
        channels[f"{int(number):04d}"] = known[key]
    if len(set(channels.values())) < len(channels):
        raise DataError(
            "no modality may stand twice",
            file=file,
            found=names,
            remedy="give the second a name of its own, as in ct_late",
        )
    return channels


def _check_ignore(description: dict[str, Any], file: Path) -> None:
    """Refuse nnU-Net's ignore label where it would be taken for one more class."""
    labels = description.get("labels")
    value = labels.get("ignore", IGNORE) if isinstance(labels, dict) else IGNORE
    if value != IGNORE:
        raise DataError(
            f"the ignore label must be {IGNORE}",
            file=file,
            found=value,
            remedy=f"replace {value} by {IGNORE} in the masks and in dataset.json",
        )
