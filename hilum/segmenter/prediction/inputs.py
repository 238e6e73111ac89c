"""Find the cases to predict in whatever a user points at: a manifest, folders, files or DICOM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hilum.core.case import Case
from hilum.core.errors import DataError, SettingsError
from hilum.core.notes import Note
from hilum.datasets.dicom.folders import conversion_of_folders, is_dicom
from hilum.datasets.dicom.settings import DicomLayout
from hilum.datasets.importers.conversion import convert
from hilum.datasets.importers.folder import import_folder, is_scan_or_label
from hilum.datasets.importers.importing import read_layout
from hilum.datasets.importers.source import (
    Imported,
    Progress,
    Source,
    folders,
    safe_ids,
    scans_in,
    stem_of,
    volumes_of,
)
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
        notes: What reading them changed, chose or left open.
    """

    cases: list[Case]
    bad: dict[str, str] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)


def find_cases(
    inputs: Inputs,
    model: Predictor,
    out: Path,
    options: Sequence[str] = (),
    progress: Progress | None = None,
) -> Found:
    """Return the cases of a manifest, a case folder, a folder of them, files, or DICOM studies.

    A case folder holds files named after modalities (`ct.nii.gz`, `pet.nii.gz`); a label is passed
    over. Any other folder is searched for DICOM, whose series are converted once, to HU and SUV,
    below `out/imported`.

    Args:
        inputs: A path, or the file or DICOM folder of each modality of one case, which goes by the
            name of the first file, or of its folder if the file is named after its modality.
            `anatomy` may name a mask of organs or stations.
        model: What predicts; says which modalities are of use.
        out: Folder of the results.
        options: Settings of the DICOM importer, as in `suv=lbm` or `assume=weight_kg=70`.
        progress: Gets how many DICOM files or cases are read, how many there are, and which.

    Raises:
        DataError: If there is none.
        SettingsError: If an option is unknown, or there is no DICOM that it could be for.
    """
    source = Source(Path(), out / IMPORTED, options=options, progress=progress)
    source.settings(DicomLayout)
    if isinstance(inputs, Mapping):
        volumes = {name: Path(file) for name, file in inputs.items()}
        if any(is_dicom(file) for name, file in volumes.items() if name != "anatomy"):
            return _of_folders(volumes, model, source)
        _require_no_options(options)
        return Found([_of_files(volumes, model)])
    path = Path(inputs)
    if path.is_dir():
        return _in_folder(path, out, source)
    if path.exists() and path.suffix.lower() not in (".csv", ".tsv") and not stem_of(path):
        return _dicom(path.parent, source)
    _require_no_options(options)
    if path.suffix.lower() in (".csv", ".tsv"):
        return Found(read_manifest(path))
    if path.exists() and stem_of(path):
        raise DataError(
            "a scan alone does not say what it is",
            file=path,
            remedy="give it by its modality: --ct FILE, --pet FILE, --modality mr_t1=FILE",
        )
    raise DataError("the file or folder must exist", file=path)


def _of_files(volumes: dict[str, Path], model: Predictor) -> Case:
    anatomy = volumes.pop("anatomy", None)
    check_known(model, volumes)
    name, file = next(iter(volumes.items()))
    stem = stem_of(file) or file.stem
    if stem.lower() == name:
        stem = file.resolve().parent.name or stem
    return Case(check_id(stem, file), stem, volumes, anatomy=anatomy)


def _of_folders(volumes: dict[str, Path], model: Predictor, source: Source) -> Found:
    """Return one case of which some modalities are DICOM; it goes by the name of the first path."""
    anatomy = volumes.pop("anatomy", None)
    check_known(model, volumes)
    for name, path in volumes.items():
        if not path.exists():
            raise DataError("the file or folder must exist", file=path, remedy=f"see {name}={path}")
    first = next(iter(volumes.values()))
    name = stem_of(first) or first.resolve().name
    if name.lower() in volumes:
        name = first.resolve().parent.name or name
    (case,) = safe_ids([name]).values()
    files = {name: file for name, file in volumes.items() if not is_dicom(file)}
    given = {name: file for name, file in volumes.items() if is_dicom(file)}
    made = Case(case, case, files, anatomy=anatomy)
    conversion = conversion_of_folders(source, made, given, source.settings(DicomLayout))
    found = convert(source, [conversion], Imported())
    order = {name: one.volumes[name] for one in found.cases for name in volumes}
    cases = [Case(case, one.patient, order, anatomy=anatomy) for one in found.cases]
    return Found(cases, {left.case: left.reason for left in found.left_out}, found.notes)


def _require_no_options(options: Sequence[str]) -> None:
    if options:
        raise SettingsError(
            "settings of DICOM need DICOM",
            found=" ".join(options),
            remedy="NIfTI files are taken as they are, PET in SUV",
        )


def _in_folder(folder: Path, out: Path, source: Source) -> Found:
    if not _holds_nifti(folder):
        return _dicom(folder, source)
    _require_no_options(source.options)
    if (folder / "manifest.csv").is_file():
        return Found(read_manifest(folder / "manifest.csv"))
    if _is_case(folder):
        files = scans_in(folder)
        words = {stem: stem if is_scan_or_label(stem) else "" for stem in files}
        name = check_id(folder.resolve().name, folder)
        volumes, _ = volumes_of(files, words, name)
        return Found([Case(name, name, volumes)])
    found = import_folder(Source(folder, out))
    return Found(found.cases, {left.case: left.reason for left in found.left_out}, found.notes)


def _holds_nifti(folder: Path) -> bool:
    """Tell whether a folder is a manifest's, a case, or one of cases."""
    if (folder / "manifest.csv").is_file() or _is_case(folder):
        return True
    return any(_is_case(inside) for inside in folders(folder))


def _is_case(folder: Path) -> bool:
    """Tell whether a folder holds a file named after a modality."""
    stems = [stem_of(file).lower() for file in folder.iterdir() if file.is_file()]
    return any(stem and stem != "label" and is_scan_or_label(stem) for stem in stems)


def _dicom(folder: Path, source: Source) -> Found:
    found = read_layout("dicom", replace(source, root=folder))
    return Found(found.cases, {left.case: left.reason for left in found.left_out}, found.notes)
