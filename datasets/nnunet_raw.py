"""Import nnU-Net's raw layout: `imagesTr/<case>_0000.nii.gz`, `labelsTr`, `dataset.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.case import Case
from ..core.errors import DataError
from ..core.files import read_json
from .manifest import check_id

CHANNELS = {
    "ct": "ct",
    "pet": "pet",
    "pt": "pet",
    "suv": "pet",
    "mr": "mr",
    "mri": "mr",
    "t1": "mr_t1",
    "t2": "mr_t2",
    "t1w": "mr_t1",
    "t2w": "mr_t2",
    "flair": "mr_flair",
    "us": "us",
}
"""Names of channels seen in public datasets, in lower case, and what they are called here."""


def import_nnunet_raw(root: Path) -> list[Case]:
    """Read the cases of one dataset; `Tr` becomes `train` and `Ts` becomes `test`.

    Source:
        nnU-Net v2, documentation, dataset format.
    """
    description: dict[str, Any] = read_json(root / "dataset.json")
    channels = _channels(description, root)
    ending = str(description.get("file_ending", ".nii.gz"))
    cases: list[Case] = []
    for part, split in (("Tr", "train"), ("Ts", "test")):
        images, labels = root / f"images{part}", root / f"labels{part}"
        if images.is_dir():
            cases += _read_part(images, labels, channels, ending, split)
    if not cases:
        raise DataError("imagesTr must hold files", file=root, found=f"none ending in {ending}")
    return cases


def _read_part(
    images: Path, labels: Path, channels: dict[str, str], ending: str, split: str
) -> list[Case]:
    names = sorted({file.name[: -len(ending) - 5] for file in images.glob(f"*_????{ending}")})
    cases = []
    for name in names:
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


def _channels(description: dict[str, Any], root: Path) -> dict[str, str]:
    """Return `{"0000": "ct", ...}`."""
    names = description.get("channel_names") or description.get("modality")
    if not isinstance(names, dict) or not names:
        raise DataError("dataset.json must have channel_names", file=root / "dataset.json")
    channels = {}
    for number, name in names.items():
        key = str(name).strip().lower()
        if key not in CHANNELS:
            raise DataError(
                f"channel {number} must have a known name",
                file=root / "dataset.json",
                found=repr(name),
                remedy=f"rename it there to one of {', '.join(CHANNELS)}",
            )
        channels[f"{int(number):04d}"] = CHANNELS[key]
    if len(set(channels.values())) < len(channels):
        raise DataError("no modality may stand twice", file=root / "dataset.json", found=names)
    return channels
