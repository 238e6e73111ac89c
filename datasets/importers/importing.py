"""Read any layout on disk into a manifest."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from hilum.core.case import Case
from hilum.core.errors import DataError, SettingsError
from hilum.core.files import write_json
from hilum.core.modality import modality
from hilum.core.notes import Note, write_notes
from hilum.core.outputs import check_output_file, output
from hilum.core.registry import Table, find

from ..io.nifti import read_grid
from ..io.nifti_header import notes_on_header
from ..manifest import OTHER, RATER, check_id, notes_file, write_manifest
from ..source import SKIP, Imported, LeftOut, Progress, Source
from .masks import judged
from .record import RECORD, printable, record_of, same_root, summary
from .unknown_names import unused_files

Importer = Callable[[Source], Imported]


@dataclass(frozen=True)
class Format:
    """One layout `x`; the file `x` reads it with `import_x`, and is imported on first use.

    Attributes:
        definition: What it reads, in a line.
        options: Name of the settings class in that file, or nothing.
        file: The file as a relative import, if it is not the format's.
        read: What reads it, in place of a file here.
        example: Writes a small example of the layout into a folder, for the contract tests.
    """

    definition: str
    options: str = ""
    file: str = ""
    read: Importer | None = None
    example: Callable[[Path], None] | None = None

    def importer(self, name: str) -> Importer:
        """Return the function."""
        if self.read is not None:
            return self.read
        module = import_module(self.file or f".{name}", __package__)
        return getattr(module, f"import_{name}")


_OURS = {
    "folder": Format("<case>/{ct,pet,mr_t1,...,label}.nii.gz"),
    "pattern": Format("files by a pattern, as in {patient}/{case}_{modality}.nii.gz", "Pattern"),
    "table": Format("rows of a CSV or TSV; --name 'CT file=ct' maps its columns", "Table"),
    "dicom": Format(
        "DICOM studies in any tree: HU and SUV, RTSTRUCT, SEG", "DicomLayout", "..dicom.layout"
    ),
    "nnunet_raw": Format("nnU-Net raw: imagesTr/<case>_0000.nii.gz, labelsTr, dataset.json"),
    "decathlon": Format("Medical Segmentation Decathlon: dataset.json with lists of files"),
    "hecktor": Format("HECKTOR 2022, 2025, 2026: head and neck FDG-PET/CT, 1 GTVp, 2 GTVn"),
    "autopet": Format("autoPET I (FDG-PET-CT-Lesions), III, IV, V (FDG and PSMA, nnU-Net style)"),
    "deep_psma": Format("DEEP-PSMA: PSMA and FDG PET/CT of each patient"),
    "lnq": Format("LNQ2023: mediastinal nodes on CT, NRRD, partial training labels"),
    "nih_nodes": Format("NIH CT Lymph Nodes: DICOM or NIfTI CT with MED_ABD_LYMPH_MASKS"),
    "lynos": Format("LyNoS: 15 chest CT, every node, stations"),
    "segrap": Format("SegRap2025 LN CTV: plain and contrast CT, as ct_nc and ct_ce"),
    "hnts_mrg": Format("HNTS-MRG 2024: T2 MR before and during radiotherapy, 1 GTVp, 2 GTVn"),
    "longitudinal_ct": Format("Longitudinal-CT (autoPET/CT IV, task 2): melanoma, two visits"),
    "uls23": Format("ULS23: boxes of CT around one lesion each, partial labels"),
    "enhance_pet": Format("ENHANCE.PET 1.6k: unlabelled FDG-PET/CT with a licence per source"),
}

FORMATS: Table[Format] = Table(
    "formats", _OURS, base="hilum.datasets.importers.importing:Format", objects=True
)
"""Ours and those of others, by name."""


def import_cohort(
    format: str,  # noqa: A002
    root: str | Path,
    out: str | Path,
    name_map: Mapping[str, str] | None = None,
    *,
    options: Sequence[str] = (),
    values: Mapping[float, int] | None = None,
    partial: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Read a layout; write `manifest.csv` and, next to it, `import.json` and `manifest.notes.json`.

    Files stay where they are; what has to be converted goes to `cases/` next to the manifest and is
    not converted again. A case that cannot be read is left out, and named with the reason in
    `import.json`.

    Args:
        format: A key of `FORMATS`.
        root: Folder of the layout.
        out: The manifest, or the folder to put it in.
        name_map: What the layout's own names of files or channels mean here, as in
            `{"suv": "pet"}`; `label` is allowed where labels are files among the scans.
        options: `key=value`, for a format that has settings.
        values: What values of the masks mean, as in `{255: 1}`; masks are copied then.
        partial: Labels mark only some of what is there: unmarked voxels are unknown.
        workers: Processes.
        progress: Gets how many cases are converted, how many there are, and the case.
        say: Gets each line of the summary.

    Returns:
        Path of the manifest.

    Raises:
        DataError: If the folder is not of this layout, or no case is sound.
        RunError: If the manifest is that of another folder: nothing is replaced silently.
    """
    out = Path(out)
    if out.suffix == ".csv":
        check_output_file(out, "import", lambda file: file.with_name(RECORD).is_file())
        held = contextlib.nullcontext(out)
    else:
        held = output(out, "import", earlier=RECORD, inputs=[root])
    with held as place:
        file = place if out.suffix == ".csv" else place / "manifest.csv"
        return _import(
            format, root, file, name_map, options, values, partial, workers, progress, say
        )


def _import(
    format: str,  # noqa: A002
    root: str | Path,
    file: Path,
    name_map: Mapping[str, str] | None,
    options: Sequence[str],
    values: Mapping[float, int] | None,
    partial: bool,
    workers: int,
    progress: Progress | None,
    say: Callable[[str], None] | None,
) -> Path:
    for line in same_root(file, Path(root)):
        if say:
            say(line)
    source = Source(
        Path(root), file.parent, name_map or {}, options, workers, progress, values or {}
    )
    found = read_layout(format, source)
    if partial:
        found = replace(found, cases=[replace(c, partial=c.labelled) for c in found.cases])
    write_manifest(file, found.cases)
    write_notes(notes_file(file), found.notes)
    write_json(file.with_name(RECORD), record_of(format, source, found, file))
    for line in summary(file, found) if say else ():
        say(line)  # pyright: ignore[reportOptionalCall]
    return file


def read_layout(format: str, source: Source) -> Imported:  # noqa: A002
    """Read a layout without writing the manifest; the files of every case can be opened.

    Raises:
        DataError: As `import_cohort`.
    """
    entry = find(FORMATS, format, "format")
    if source.options and not entry.options:
        raise SettingsError(
            f"format {format} has no settings",
            found=" ".join(source.options),
            remedy="leave the settings out",
        )
    for name in source.names.values():
        if name and name not in {*OTHER, SKIP} and not name.startswith(RATER):
            modality(name)
    try:
        found = judged(_sound(entry.importer(format)(source), source), source)
    except PermissionError as error:
        raise DataError(
            "the folder must be readable",
            file=error.filename,
            found=error.strerror,
            remedy="check who may read it",
        ) from error
    if format not in ("pattern", "table", "dicom"):  # these tell it by themselves
        own = format == "folder"
        found.notes.extend(unused_files(found.cases, source.words({}), own_names=own))
    found.notes.extend(_names_without_files(found.cases, source))
    return found.raise_if_empty("cases", source.root)


def read_scans(cases: Imported, source: Source, *, of_folders: bool) -> Imported:
    """Return a user's cases without their labels; what is odd about their files is noted.

    For what only looks at scans: a label may be damaged, or on another grid.

    Args:
        cases: As they were found.
        source: The request.
        of_folders: Whether files next to those of a case count as passed over.
    """
    scans = [replace(case, label=None) for case in cases.cases]
    found = _sound(replace(cases, cases=scans), source)
    if of_folders:
        found.notes.extend(unused_files(cases.cases, source.words({}), own_names=True))
    found.notes.extend(_names_without_files(cases.cases, source))
    return found


def _names_without_files(cases: Sequence[Case], source: Source) -> list[Note]:
    """Return a note for each name of the user that asks for what no case has."""
    had = {name for case in cases for name in case.files} | {*OTHER, SKIP, ""}
    if not any(case.label for case in cases):
        had.discard("label")
    return [
        Note(
            "warning",
            "names that fit nothing",
            f"no case has {name}, which {word}={name} asks for",
        )
        for word, name in source.names.items()
        if name not in had
    ]


def _sound(found: Imported, source: Source) -> Imported:
    """Leave out cases whose files cannot be opened, or whose name is there already."""
    cases: list[Case] = []
    left_out = list(found.left_out)
    seen: set[str] = set()
    with ThreadPoolExecutor(max(1, source.workers)) as pool:
        judged = pool.map(_judged, found.cases)
        for done, (case, (reason, notes)) in enumerate(zip(found.cases, judged, strict=True), 1):
            if not reason and case.id.casefold() in seen:
                reason = f"case {case.id}: the name of a case may stand once"
            if reason:
                left_out.append(LeftOut(case.id, reason))
            else:
                seen.add(case.id.casefold())
                cases.append(case)
                found.notes.extend(notes)
            if source.progress:
                source.progress(done, len(found.cases), printable(case.id))
    left_out = [LeftOut(printable(e.case), printable(e.reason)) for e in left_out]
    renamed = {key: printable(name) for key, name in found.renamed.items()}
    return replace(found, cases=cases, left_out=left_out, renamed=renamed)


def _judged(case: Case) -> tuple[str, list[Note]]:
    """Return why a case cannot be used, or nothing, and what is odd in the headers of its files."""
    for text in (case.id, case.patient, *map(str, case.volumes.values()), str(case.label)):
        if text != printable(text):
            return f"case {case.id}: names of files and patients must be UTF-8, found {text}", []
    notes: list[Note] = []
    try:
        check_id(case.id)
        labels = [file for file in (case.label, *case.raters.values()) if file]
        for file in [*case.volumes.values(), *labels]:
            read_grid(file, case.id)
            notes += notes_on_header(file, case.id)
    except DataError as error:
        return str(error), []
    return "", notes
