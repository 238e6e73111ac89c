"""Write one case from DICOM: NIfTI volumes in HU and SUV, the label, and a record of both."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.files import hash_of, read_json, write_json
from hilum.core.modality import modality
from hilum.core.notes import Note

from ..conversion import Conversion, folder_of
from ..io.nifti import write_volume
from ..source import Imported, Source
from .enhanced import quiet
from .headers import shown
from .names import unused
from .series import Series
from .settings import DicomLayout

_LISTED = 12
"""Names that a note lists; `source.json` has all."""


@dataclass(frozen=True)
class Plan:
    """What one case is made of; goes to a worker process.

    Attributes:
        case: Its name.
        volumes: Files of each modality.
        uids: SeriesInstanceUID of each modality.
        labels: RTSTRUCT and SEG files.
        settings: Of SUV and contours.
        about: What else the record of the case holds.
        notes: What the choice of the series has the user know.
    """

    case: str
    volumes: dict[str, tuple[Path, ...]]
    uids: dict[str, str]
    labels: tuple[Path, ...]
    settings: DicomLayout
    about: dict[str, Any]
    notes: tuple[Note, ...] = ()


def conversion_of(
    source: Source,
    case: str,
    volumes: Mapping[str, Series],
    labels: Sequence[Series] = (),
    *,
    settings: DicomLayout,
    about: Mapping[str, Any] | None = None,
    notes: Sequence[Note] = (),
    made: Case | None = None,
) -> Conversion:
    """Return what converts one case below `source.out`.

    Args:
        source: The request.
        case: Its name.
        volumes: Series of each modality.
        labels: RTSTRUCT and SEG.
        settings: Of SUV and contours.
        about: What else the record of the case holds.
        notes: What the choice of the series has the user know.
        made: Patient, site, split and files of the case that are NIfTI already.
    """
    files = tuple(header.file for series in labels for header in series.headers)
    first = next(iter(volumes.values())).first
    plan = Plan(
        case,
        {m: tuple(header.file for header in s.headers) for m, s in volumes.items()},
        {m: s.uid for m, s in volumes.items()},
        files,
        settings,
        {
            "patient": first["PatientID"],
            "study": first["StudyInstanceUID"],
            "study_date": first["StudyDate"],
            **(about or {}),
        },
        tuple(notes),
    )
    into = folder_of(source, case)
    scanner = " ".join(first[tag] for tag in ("Manufacturer", "ManufacturerModelName")).strip()
    if made is None:
        made = Case(case, first["PatientID"] or case, {}, site=scanner)
    written = {name: into / f"{name}.nii.gz" for name in volumes}
    # Whether there is a label is known once its names have been read: see `labelled`.
    label = into / "label.nii.gz" if files else made.label
    made = replace(made, volumes={**made.volumes, **written}, label=label)
    every = (*(file for one in plan.volumes.values() for file in one), *files)
    # Other settings make other SUV and masks of the same files; other choices, other notes.
    used = settings.model_dump(mode="json", exclude={"pair", "pair_days"})
    how = [used, plan.uids, [note.as_json() for note in notes]]
    return Conversion(made, every, partial(write_case, plan), hash_of(how))


def write_case(plan: Plan, folder: Path) -> list[Note]:
    """Write the volumes of one case, and the label, which is drawn on one of them.

    Returns:
        What changed the data, or is doubtful.
    """
    from .volume import read_slices

    about: dict[str, Any] = {**plan.about, "volumes": {}}
    notes = list(plan.notes)
    there = {}
    for name, files in plan.volumes.items():
        rule = modality(name)
        slices = read_slices(files, plan.case, -1024.0 if rule.unit == "HU" else 0.0)
        array, found = slices.array, list(slices.notes)
        record: dict[str, Any] = {}
        if rule.unit == "SUV":
            array = _to_suv(array, slices.headers, plan, record, found)
        whole = bool((array == np.floor(array)).all()) and np.abs(array).max() < 32767
        write_volume(
            folder / f"{name}.nii.gz", array, slices.grid, np.int16 if whole else np.float32
        )
        about["volumes"][name] = {
            "series": plan.uids[name],
            "folder": os.path.commonpath([file.absolute().parent for file in files]),
            "notes": [note.text for note in found],
            **record,
        }
        notes += [replace(note, text=f"{name}: {note.text}") for note in found]
        there[plan.uids[name]] = (name, slices.grid, slices.headers)
    if plan.labels:
        notes += _write_labels(plan, folder, there, about)
    write_json(folder / "source.json", about)
    return notes


def labelled(imported: Imported, patterns: Mapping[str, int] | None) -> Imported:
    """Take the label from cases whose contours gave none, and say why.

    Args:
        imported: Converted cases.
        patterns: The user's table of regions; one that fits no region of any case is noted.
    """
    if patterns:
        records = [case.label.parent / "source.json" for case in imported.cases if case.label]
        imported.notes.extend(unused(patterns, _regions(records)))
    for index, case in enumerate(imported.cases):
        if case.label is not None and not case.label.exists():
            imported.cases[index] = replace(case, label=None)
            about = read_json(case.label.parent / "source.json")
            text = (
                f"imported without a label: {about['labels']['none']}; "
                "say which names count, as in 'labels={\"GTVn*\": 1}'"
            )
            imported.notes.append(Note("warning", "imported without a label", text, case.id))
    return imported


def _regions(records: Sequence[Path]) -> list[str]:
    """Return the names of all regions that records of conversions tell of."""
    labels = [
        label
        for record in records
        if record.is_file()
        for label in read_json(record).get("labels", {}).values()
        if isinstance(label, dict)
    ]
    return [name for label in labels for name in (*label["names"], *label["left_out"])]


def row_of(case: str, series: Series, what: str) -> dict[str, object]:
    """Return the line of a report about one series."""
    first = series.first
    return {
        "case": case,
        "series": first["SeriesNumber"],
        "description": first["SeriesDescription"],
        "part": series.part,
        "kind": series.kind,
        "files": len(series.headers),
        "extent_mm": round(series.extent_mm, 1),
        "uid": series.uid,
        "folder": shown(first.file.parent),
        "what": what,
    }


def _to_suv(
    array: np.ndarray, headers: Sequence[Any], plan: Plan, record: dict, notes: list[Note]
) -> np.ndarray:
    from ..suv.factor import implausible_suv, suv_factor
    from ..suv.tags import read_assume

    suv = suv_factor(
        headers, kind=plan.settings.suv, assume=read_assume(plan.settings.assume), case=plan.case
    )
    record["suv"] = suv.audit
    notes += suv.notes
    array = array * np.float32(suv.factor)
    doubt = implausible_suv(array)
    if doubt:
        notes.append(Note("warning", "SUV that cannot be right", doubt))
    return array


def _write_labels(
    plan: Plan, folder: Path, there: Mapping[str, tuple], about: dict[str, Any]
) -> list[Note]:
    """Write the mask of the CT (else of the first series with one) as the label, others beside."""
    from .labels import NODE_NAMES, read_labels

    table = plan.settings.labels or NODE_NAMES
    series = {uid: (grid, headers) for uid, (_, grid, headers) in there.items()}
    try:
        with quiet():
            labels = read_labels(plan.labels, series, table, plan.case, plan.settings.edge)
    except DataError as error:
        # Contours of whatever else are no reason to lose a scan, unless they were asked for.
        if plan.settings.labels is not None:
            raise
        about["labels"] = {"none": str(error)}
        return []
    order = sorted(labels, key=lambda label: not there[label.series][0].startswith("ct"))
    about["labels"], notes = {}, []
    for number, label in enumerate(order):
        name, grid, _ = there[label.series]
        file = "label.nii.gz" if number == 0 else f"label_{name}.nii.gz"
        write_volume(folder / file, label.mask, grid)
        about["labels"][file] = {
            "drawn_on": name,
            "names": label.names,
            "left_out": label.left_out,
            "notes": [note.text for note in label.notes],
        }
        notes += label.notes
        if number:
            text = (
                f"{file}: drawn on {name}; label.nii.gz is the one of {there[order[0].series][0]}"
            )
            notes.append(Note("info", "labels on several scans", text))
        if label.left_out:
            names = list(dict.fromkeys(label.left_out))
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            text = f"regions that are no part of the label: {', '.join(names[:_LISTED])}{more}"
            notes.append(Note("info", "regions left out", text))
        if plan.settings.labels is not None and label.unknown and not number:
            # Who gives a table means to name every region: a spelling that it lacks loses nodes.
            listed = ", ".join(map(repr, label.unknown))
            text = f"names that fit no pattern of labels, and count as background: {listed}"
            notes.append(Note("warning", "names that fit no pattern", text))
    return notes
