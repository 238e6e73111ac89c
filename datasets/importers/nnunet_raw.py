"""Import nnU-Net's raw layout: `imagesTr/<case>_0000.nii.gz`, `labelsTr`, `dataset.json`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hilum.core.case import IGNORE, Case
from hilum.core.errors import DataError
from hilum.core.files import read_json
from hilum.core.modality import MODALITIES
from hilum.core.notes import Note

from ..conversion import Conversion, convert, folder_of
from ..io.nifti import ENDINGS, read_label, write_volume
from ..manifest import check_id
from ..source import SKIP, Imported, LeftOut, Source, find_root

EXPECTED = "dataset.json, imagesTr and labelsTr"

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


@dataclass(frozen=True)
class RawCase:
    """The files of one case in `images{Tr,Ts}` and `labels{Tr,Ts}`.

    Attributes:
        channels: File of each channel, by its number.
        label: The mask, if there is one.
        split: `train` for `Tr`, `test` for `Ts`.
    """

    channels: dict[int, Path]
    label: Path | None
    split: str


def import_nnunet_raw(source: Source) -> Imported:
    """Read the cases of one dataset; `Tr` becomes `train` and `Ts` becomes `test`.

    The layout has no patients: each case counts as one, unless `hilum export-nnunet` wrote the
    dataset and with it who is who. Names map those in `channel_names` that `CHANNELS` lacks. Masks
    with an ignore label are copied with 255 in its place; a case that lacks a channel is left out.

    Source:
        nnU-Net v2, documentation, dataset format.
    """
    root = find_root(source.root, lambda path: (path / "dataset.json").exists(), EXPECTED)
    file = root / "dataset.json"
    description = read_json(file)
    if not isinstance(description, dict):
        raise DataError(
            "dataset.json must describe a dataset",
            file=file,
            remedy="it needs channel_names (or modality) and labels",
        )
    own = _own(description)
    channels = channels_of(description, file, source.names)
    ending = str(description.get("file_ending", ".nii.gz"))
    if ending not in ENDINGS:
        raise DataError(
            "file_ending must be .nii.gz or .nii",
            file=file,
            found=ending,
            remedy="convert the images to NIfTI",
        )
    found = Imported(classes=classes_of(description))
    found.notes.extend(_regions(description))
    ignore = _ignore(description)
    conversions: list[Conversion] = []
    for name, raw in raw_cases(root, (ending,)).items():
        try:
            case = _case(name, raw, channels, own)
        except DataError as error:
            found.left_out.append(LeftOut(name, str(error)))
            continue
        if case.label is None or ignore in (None, IGNORE):
            found.cases.append(case)
            continue
        write = partial(_copy_label, case.label, ignore, name)
        label = folder_of(source, case.id) / "label.nii.gz"
        conversions.append(Conversion(replace(case, label=label), (case.label,), write))
    convert(source, conversions, found)
    return found.raise_if_empty(f"imagesTr with <case>_0000{ending}", root)


def raw_cases(root: Path, endings: tuple[str, ...] = ENDINGS) -> dict[str, RawCase]:
    """Return what lies in `images{Tr,Ts}`, by the name of the case; a name counts once, `Tr` first.

    Args:
        root: The dataset.
        endings: Which files to look at.
    """
    found: dict[str, RawCase] = {}
    pattern = re.compile(rf"([^.].*)_(\d{{4}})({'|'.join(map(re.escape, endings))})")
    for part, split in (("Tr", "train"), ("Ts", "test")):
        images = root / f"images{part}"
        fresh: dict[str, RawCase] = {}
        for file in sorted(images.iterdir()) if images.is_dir() else ():
            match = pattern.fullmatch(file.name)
            if match and match[1] not in found:
                labels = [root / f"labels{part}" / f"{match[1]}{end}" for end in endings]
                label = next((path for path in labels if path.exists()), None)
                raw = fresh.setdefault(match[1], RawCase({}, label, split))
                raw.channels[int(match[2])] = file
        found |= fresh
    return found


def _own(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `hilum export-nnunet` noted, or nothing."""
    own = description.get("hilum")
    return own if isinstance(own, dict) else {}


def _case(name: str, raw: RawCase, channels: Mapping[int, str], own: Mapping[str, Any]) -> Case:
    missing = [number for number in channels if number not in raw.channels]
    if missing:
        raise DataError(
            "every channel of a case must be there",
            case=name,
            found=f"no {name}_{missing[0]:04d}",
            remedy="copy it again, or remove the case",
        )
    facts = own.get("cases", {}).get(name, {})
    return Case(
        id=check_id(name),
        patient=str(facts.get("patient", name)),
        volumes={modality: raw.channels[number] for number, modality in channels.items()},
        label=raw.label,
        site=str(facts.get("site", "")),
        split=str(facts.get("split", raw.split)),
        partial=bool(facts.get("partial", False)),
    )


def _copy_label(file: Path, ignore: int, case: str, folder: Path) -> None:
    label = read_label(file, case)
    array = np.where(label.array == ignore, IGNORE, label.array)
    if (label.array[label.array != ignore] >= IGNORE).any():
        raise DataError(
            f"classes must be below {IGNORE}",
            case=case,
            file=file,
            remedy="number the labels of dataset.json from 1 on",
        )
    write_volume(folder / "label.nii.gz", array.astype(np.uint8), label.grid)


def channels_of(
    description: Mapping[str, Any], file: Path, name_map: Mapping[str, str]
) -> dict[int, str]:
    """Return the modality of each channel, `{0: "ct", ...}`.

    Args:
        description: What `dataset.json` holds; its `hilum.modalities` come before channel names.
        file: For messages.
        name_map: Modality of names, or of numbers of channels where names are equal; nothing for a
            channel to skip.
    """
    own = _own(description).get("modalities")
    names = dict(enumerate(own)) if own else None
    names = names or description.get("channel_names") or description.get("modality")
    if not isinstance(names, dict) or not all(str(number).isdigit() for number in names):
        raise DataError(
            "dataset.json must have channel_names",
            file=file,
            found=names,
            remedy='as in {"0": "CT", "1": "PET"}',
        )
    given = {key.strip().lower(): "" if value == SKIP else value for key, value in name_map.items()}
    known = CHANNELS | given
    channels: dict[int, str] = {}
    for number, name in sorted((int(number), str(name)) for number, name in names.items()):
        key = name.strip().lower()
        # A name that stands twice is told apart by its number, which comes first.
        word = next((w for w in (str(number), f"{number:04d}") if w in given), key)
        meaning = known.get(word, key if key.split("_")[0] in MODALITIES else None)
        if meaning is None:
            raise DataError(
                f"channel {number} must have a known name",
                file=file,
                found=repr(name),
                remedy=f"say what it is, as in --name {shlex.quote(f'{name}=ct')}, or --name "
                f"{shlex.quote(f'{name}=')} to skip",
            )
        if meaning in channels.values():
            raise DataError(
                "no modality may stand twice",
                file=file,
                found=f"{meaning} in channels {_number_of(channels, meaning)} and {number}: "
                f"{', '.join(map(str, names.values()))}",
                remedy=f"tell them apart by number, as in --name {number}={meaning}_late, or "
                f"--name {number}= to skip",
            )
        if meaning:
            channels[number] = meaning
    if not channels:
        raise DataError(
            "a dataset must keep a channel",
            file=file,
            found="all of them skipped",
            remedy="leave one of the channels in",
        )
    return channels


def _number_of(channels: Mapping[int, str], meaning: str) -> int:
    return next(number for number, name in channels.items() if name == meaning)


def classes_of(description: Mapping[str, Any]) -> frozenset[int] | None:
    """Return the values that `labels` of a `dataset.json` lists, or nothing if it lists none.

    `{"node": 1}`, `{"all": [1, 2]}` (regions, nnU-Net v2), or `{"1": "node"}` (the Decathlon).
    The ignore label is none of them: importers write 255 in its place.
    """
    labels = description.get("labels")
    if not isinstance(labels, Mapping) or not labels:
        return None
    found: set[int] = set()
    for name, value in labels.items():
        if isinstance(value, str):
            value = int(name) if name.isdigit() else None
        elif str(name) == "ignore":
            continue
        values = value if isinstance(value, list) else [value]
        found.update(v for v in values if isinstance(v, int))
    return frozenset(found | {0})


def _regions(description: Mapping[str, Any]) -> list[Note]:
    """Return what to set for the regions of a dataset, if it has any: masks hold values alone."""
    labels = description.get("labels")
    pairs = labels.items() if isinstance(labels, Mapping) else ()
    regions = {
        str(name): value if isinstance(value, list) else [value]
        for name, value in pairs
        if str(name).lower() not in ("background", "ignore")
    }
    if not any(len(value) > 1 for value in regions.values()):
        return []
    own = ", ".join(f"{name}: {value}" for name, value in regions.items())
    text = f"the dataset has regions; train them with 'regions={{{own}}}'"
    order = description.get("regions_class_order")
    text += f" regions_class_order={order}" if isinstance(order, list) else ""
    return [Note("info", "regions that overlap", text)]


def _ignore(description: dict[str, Any]) -> int | None:
    """Return the value of nnU-Net's ignore label, which would be taken for one more class."""
    labels = description.get("labels")
    value = labels.get("ignore") if isinstance(labels, dict) else None
    return value if isinstance(value, int) else None
