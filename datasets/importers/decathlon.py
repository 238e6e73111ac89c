"""Import a task of the Medical Segmentation Decathlon: `dataset.json` with lists of files.

`{"modality": {"0": "CT"}, "training": [{"image": "./imagesTr/x.nii.gz", "label": ...}], "test":
["./imagesTs/y.nii.gz"]}`. Several modalities are the fourth axis of one file.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
from nibabel.filebasedimages import ImageFileError

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.files import read_json

from ..conversion import Conversion, convert, folder_of
from ..source import Imported, LeftOut, Source, find_root, safe_ids, stem_of
from .nnunet_raw import channels_of, classes_of

_EXPECTED = "dataset.json with the lists training and test"


def import_decathlon(source: Source) -> Imported:
    """Read every case; files of several modalities are split into one per modality, losslessly.

    `--name` maps names in `modality`, as in `--name ADC=mr_adc`.
    """
    root = find_root(source.root, lambda path: (path / "dataset.json").exists(), _EXPECTED)
    file = root / "dataset.json"
    description = read_json(file)
    if not isinstance(description, dict) or not isinstance(description.get("training"), list):
        raise DataError(
            f"the folder must hold {_EXPECTED}",
            file=file,
            remedy="give the folder that was unpacked, such as Task06_Lung",
        )
    channels = channels_of(description, file, source.names)
    count = len(description.get("channel_names") or description.get("modality") or channels)
    found, conversions = Imported(classes=classes_of(description)), []
    entries = [*_entries(description, "training"), *_entries(description, "test")]
    ids = safe_ids(name for name, _, _ in entries)
    for name, entry, split in entries:
        case = ids[name]
        if case != name:
            found.renamed[case] = name
        try:
            image = _file(root, entry.get("image"), case)
            label = _file(root, entry["label"], case) if entry.get("label") else None
        except DataError as error:
            found.left_out.append(LeftOut(case, str(error)))
            continue
        if count == 1:
            found.cases.append(Case(case, case, {channels[0]: image}, label, "", split))
            continue
        folder = folder_of(source, case)
        volumes = {modality: folder / f"{modality}.nii.gz" for modality in channels.values()}
        write = partial(_split, case, image, channels, count)
        made = Case(case, case, volumes, label, "", split)
        conversions.append(Conversion(made, (image,), write, repr(channels)))
    return convert(source, conversions, found).raise_if_empty(_EXPECTED, root)


def _entries(description: Mapping[str, Any], part: str) -> list[tuple[str, dict[str, Any], str]]:
    """Return name, files and split of each case; a test entry may be the image alone."""
    found = []
    for number, entry in enumerate(description.get(part) or []):
        files = dict(entry) if isinstance(entry, dict) else {"image": entry}
        name = stem_of(Path(str(files.get("image")))) or f"{part}_{number}"
        found.append((name, files, "train" if part == "training" else "test"))
    return found


def _file(root: Path, text: object, case: str) -> Path:
    file = root / str(text)
    if not file.is_file():
        raise DataError("no such file", case=case, file=file, remedy="unpack the archive again")
    return file


def _split(case: str, file: Path, channels: Mapping[int, str], count: int, folder: Path) -> None:
    try:
        image = nibabel.load(file)
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        found = " ".join(str(error).split())
        raise DataError(
            "the file must be readable NIfTI",
            case=case,
            file=file,
            found=found,
            remedy="unpack the archive again",
        ) from error
    shape = image.shape  # pyright: ignore[reportAttributeAccessIssue]
    if len(shape) != 4 or shape[3] != count:
        raise DataError(
            f"an image must have {count} channels on its fourth axis",
            case=case,
            file=file,
            found=" x ".join(map(str, shape)),
            remedy="mend `modality` in dataset.json, or leave the case out",
        )
    for number, modality in channels.items():
        nibabel.save(image.slicer[..., number], folder / f"{modality}.nii.gz")  # pyright: ignore[reportAttributeAccessIssue]
