"""Find the cases to predict in whatever a user points at: a manifest, folders, files or DICOM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.datasets.importers.folder import import_folder, is_scan_or_label
from hilum.datasets.importers.importing import read_layout
from hilum.datasets.importers.source import Source, folders, scans_in, stem_of, volumes_of
from hilum.datasets.manifest import check_id, read_manifest

from ..predictor import Predictor
from .patient import check_known

Inputs = str | Path | Mapping[str, str | Path]

IMPORTED = "imported"
"""Folder, in that of the results, of what is converted from DICOM."""


@dataclass(frozen=True)
class Found:
    """What there is to predict.

    Attributes:
        cases: With files that can be read.
        bad: Why the others cannot be, by case.
    """

    cases: list[Case]
    bad: dict[str, str] = field(default_factory=dict)


def find_cases(inputs: Inputs, model: Predictor, out: Path) -> Found:
    """Return the cases of a manifest, a case folder, a folder of them, files, or DICOM studies.

    A case folder holds files named after modalities (`ct.nii.gz`, `pet.nii.gz`); a label is passed
    over. Any other folder is searched for DICOM, whose series are converted once, to HU and SUV,
    below `out/imported`.

    Args:
        inputs: A path, or the file of each modality of one case, which goes by the name of the
            first file, or of its folder if the file is named after its modality. `anatomy` may
            name a mask of organs or stations.
        model: What predicts; says which modalities are of use.
        out: Folder of the results.

    Raises:
        DataError: If there is none.
    """
    if isinstance(inputs, Mapping):
        return Found([_of_files({name: Path(file) for name, file in inputs.items()}, model)])
    path = Path(inputs)
    if path.is_dir():
        return _in_folder(path, out)
    if path.suffix.lower() in (".csv", ".tsv"):
        return Found(read_manifest(path))
    if path.exists() and stem_of(path):
        raise DataError(
            "a scan alone does not say what it is",
            file=path,
            remedy="give it by its modality: --ct FILE, --pet FILE",
        )
    if path.exists():
        return _dicom(path.parent, out)
    raise DataError("the file or folder must exist", file=path)


def _of_files(volumes: dict[str, Path], model: Predictor) -> Case:
    anatomy = volumes.pop("anatomy", None)
    check_known(model, volumes)
    name, file = next(iter(volumes.items()))
    stem = stem_of(file) or file.stem
    if stem.lower() == name:
        stem = file.resolve().parent.name or stem
    return Case(check_id(stem, file), stem, volumes, anatomy=anatomy)


def _in_folder(folder: Path, out: Path) -> Found:
    if (folder / "manifest.csv").is_file():
        return Found(read_manifest(folder / "manifest.csv"))
    if _is_case(folder):
        files = scans_in(folder)
        words = {stem: stem if is_scan_or_label(stem) else "" for stem in files}
        name = check_id(folder.resolve().name, folder)
        volumes, _ = volumes_of(files, words, name)
        return Found([Case(name, name, volumes)])
    if any(_is_case(inside) for inside in folders(folder)):
        found = import_folder(Source(folder, out))
        return Found(found.cases, {left.case: left.reason for left in found.left_out})
    return _dicom(folder, out)


def _is_case(folder: Path) -> bool:
    """Tell whether a folder holds a file named after a modality."""
    stems = [stem_of(file).lower() for file in folder.iterdir() if file.is_file()]
    return any(stem and stem != "label" and is_scan_or_label(stem) for stem in stems)


def _dicom(folder: Path, out: Path) -> Found:
    found = read_layout("dicom", Source(folder, out / IMPORTED))
    return Found(found.cases, {left.case: left.reason for left in found.left_out})
