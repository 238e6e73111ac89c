"""Find the cases to predict in whatever a user points at: a manifest, folders, files or DICOM."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hilum.core.case import Case
from hilum.core.errors import DataError, SettingsError
from hilum.core.notes import Note
from hilum.datasets.conversion import convert
from hilum.datasets.dicom.folders import conversion_of_folders, is_dicom
from hilum.datasets.dicom.settings import DicomLayout
from hilum.datasets.importers.folder import case_in, import_folder, is_scan_or_label
from hilum.datasets.importers.importing import read_layout, read_scans
from hilum.datasets.importers.table import head_of, import_table
from hilum.datasets.manifest import OTHER, check_id, read_manifest
from hilum.datasets.source import (
    SKIP,
    Imported,
    Progress,
    Source,
    folders,
    safe_ids,
    scans_in,
    stem_of,
)

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
    names: Mapping[str, str] | None = None,
) -> Found:
    """Return the cases of a manifest or table, a case folder, a folder of them, files, or DICOM.

    A case folder holds files named after modalities (`ct.nii.gz`, `pet.nii.gz`) or that `names`
    names; a label is passed over, and other files are noted. Any other folder is searched for
    DICOM, whose series are converted once, to HU and SUV, below `out/imported`.

    Args:
        inputs: A path, or the file or DICOM folder of each modality of one case, which goes by the
            name of the first file, or of its folder if the file is named after its modality.
            `anatomy` may name a mask of organs or stations.
        model: What predicts; says which modalities are of use.
        out: Folder of the results.
        options: Settings of the DICOM importer, as in `suv=lbm` or `assume=weight_kg=70`.
        progress: Gets how many DICOM files or cases are read, how many there are, and which.
        names: Modality of each word of files, columns or DICOM descriptions, as in
            `{"suv": "pet"}`; nothing to skip it.

    Raises:
        DataError: If there is none.
        SettingsError: If an option or a modality is unknown, or there is nothing that it could be
            for.
    """
    names = dict(names or {})
    _check_names(model, names)
    source = Source(Path(), out / IMPORTED, names, options, progress=progress)
    source.settings(DicomLayout)
    if isinstance(inputs, Mapping):
        volumes = {name: Path(file) for name, file in inputs.items()}
        if names:
            raise SettingsError(
                "names are for folders, DICOM and tables",
                found=", ".join(f"{word}={name}" for word, name in names.items()),
                remedy="a file that is given by its modality needs none",
            )
        if any(is_dicom(file) for name, file in volumes.items() if name != "anatomy"):
            return _of_folders(volumes, model, source)
        _require_no_options(options)
        return _sound(Imported([_of_files(volumes, model)]), source)
    path = Path(inputs)
    if path.is_dir():
        return _in_folder(path, source)
    if path.exists() and path.suffix.lower() not in (".csv", ".tsv") and not stem_of(path):
        return _dicom(path.parent, source)
    if path.suffix.lower() in (".csv", ".tsv"):
        return _of_table(path, source)
    _require_no_options(options)
    if path.exists() and stem_of(path):
        raise DataError(
            "a scan alone does not say what it is",
            file=path,
            remedy="give it by its modality: --ct FILE, --pet FILE, --modality mr_t1=FILE",
        )
    raise DataError("no such file or folder", file=path, remedy="check the path")


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
            raise DataError("no such file or folder", file=path, remedy=f"see {name}={path}")
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


def _in_folder(folder: Path, source: Source) -> Found:
    if not _holds_nifti(folder, source.words({})):
        _refuse_unknown(folder)
        return _dicom(folder, source)
    _require_no_options(source.options)
    if (folder / "manifest.csv").is_file():
        return _of_table(folder / "manifest.csv", source)
    source = replace(source, root=folder)
    words = source.words({})
    if _is_case(folder, words):
        case = case_in(folder, words)
        return _sound(Imported([case] if case else []), source)
    return _sound(import_folder(source), source)


def _of_table(file: Path, source: Source) -> Found:
    """Return the cases of a manifest, of a table of files or DICOM, or of an archive's series."""
    if "case" in head_of(file) and not (source.names or source.options):
        cases = read_manifest(file)
        if not any(is_dicom(path) for case in cases for path in case.volumes.values()):
            return _sound(Imported(cases), source, of_folders=False)
    return _sound(import_table(replace(source, root=file)), source, of_folders=False)


def _sound(found: Imported, source: Source, *, of_folders: bool = True) -> Found:
    """Return the cases whose scans can be opened; what is odd about their files is noted.

    Files beside the scans count as passed over in folders of cases only.
    """
    read = read_scans(found, source, of_folders=of_folders)
    return Found(read.cases, {left.case: left.reason for left in read.left_out}, read.notes)


def _check_names(model: Predictor, names: Mapping[str, str]) -> None:
    """Raise an error for a name that stands for a modality which the model never saw."""
    meant = {name: word for word, name in names.items() if name not in (*OTHER, SKIP, "")}
    if meant:
        check_known(model, meant)


def _holds_nifti(folder: Path, words: Mapping[str, str]) -> bool:
    """Tell whether a folder is a manifest's, a case, or one of cases."""
    if (folder / "manifest.csv").is_file() or _is_case(folder, words):
        return True
    return any(_is_case(inside, words) for inside in folders(folder))


def _is_case(folder: Path, words: Mapping[str, str]) -> bool:
    """Tell whether a folder holds a file named after a modality, or that the user names."""
    stems = [stem_of(file).lower() for file in folder.iterdir() if file.is_file()]
    names = [words.get(stem) or stem for stem in stems if stem]
    return any(name != "label" and is_scan_or_label(name) for name in names)


def _refuse_unknown(folder: Path) -> None:
    """Raise an error if there are NIfTI files, but none with a name that says what it is."""
    stems = dict.fromkeys(stem for place in (folder, *folders(folder)) for stem in scans_in(place))
    if not stems:
        return
    first = shlex.quote(f"{next(iter(stems))}=pet")
    raise DataError(
        "a file must be named after its modality, as in ct.nii.gz",
        file=folder,
        found=", ".join(list(stems)[:6]),
        remedy=f"say what they are, as in --name {first}",
    )


def _dicom(folder: Path, source: Source) -> Found:
    found = read_layout("dicom", replace(source, root=folder))
    return Found(found.cases, {left.case: left.reason for left in found.left_out}, found.notes)
