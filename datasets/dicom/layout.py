"""Import DICOM: a messy tree of studies becomes cases with NIfTI volumes in HU and SUV."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.files import hash_of, write_json
from hilum.core.modality import modality
from hilum.core.notes import Note
from hilum.core.settings import Settings

from ..importers.conversion import Conversion, convert, folder_of
from ..importers.source import Imported, LeftOut, Source, safe_ids
from ..io.nifti import write_volume
from .choose import Choice, choose
from .headers import Found, crawl, require_pydicom, shown
from .series import Series, group


class DicomLayout(Settings):
    """How PET becomes SUV, and what contours mean."""

    suv: Literal["bw", "lbm", "bsa"] = Field(
        "bw", description="SUV by body weight, lean body mass or body surface area"
    )
    assume: str | None = Field(
        None, description="what to take for granted where a tag is missing, as in weight_kg=70"
    )
    labels: dict[str, int] | None = Field(
        None, description="class by a pattern of region names; empty: the usual names of nodes"
    )


@dataclass(frozen=True)
class _Plan:
    """What one case is made of; goes to a worker process."""

    case: str
    volumes: dict[str, tuple[Path, ...]]
    uids: dict[str, str]
    labels: tuple[Path, ...]
    settings: DicomLayout
    about: dict[str, Any]


def import_dicom(source: Source) -> Imported:
    """Read every study below a folder; each with a CT, PET or MR becomes a case.

    Writes `cases/<case>/{ct,pet,mr_t1,label}.nii.gz` with `source.json` (series, reasons, the
    record of SUV), and `dicom.json` with what was done with every series. Names of patients are
    not read. A study that cannot be converted is left out, with the reason.

    Raises:
        DataError: If no study could be converted.
    """
    settings = source.settings(DicomLayout)
    require_pydicom()
    from ..suv.tags import read_assume

    read_assume(settings.assume)
    for name in source.names.values():
        if name != "skip":
            modality(name)
    found = crawl(source.root, progress=source.progress)
    studies = _studies(group(found.headers))
    imported = Imported()
    _note_unreadable(found, imported)
    ids = safe_ids(studies)
    conversions, report = [], []
    for key, members in studies.items():
        case = ids[key]
        drawn_on = _drawn_on(members)
        choice = choose(members, source.names, drawn_on)
        report += [_row(case, series, reason) for series, reason in choice.reasons]
        if not choice.volumes:
            imported.left_out.append(LeftOut(case, _nothing(members, choice)))
            continue
        conversions.append(_conversion(source, case, choice, settings))
    imported = _labelled(convert(source, conversions, imported))
    if not imported.cases and not imported.left_out:
        raise DataError(
            "the folder must hold DICOM series of CT, PET or MR",
            file=source.root,
            found=f"{len(found.headers)} DICOM files and {found.other} others",
            remedy="give the folder above the studies",
        )
    write_json(source.out / "dicom.json", {"series": report, "unreadable": found.unreadable})
    return imported.raise_if_empty("DICOM series of CT, PET or MR", source.root)


def _studies(series: Sequence[Series]) -> dict[str, list[Series]]:
    """Return the series of each study by a name: the patient, with a date if there are several."""
    by_study: dict[tuple[str, str], list[Series]] = defaultdict(list)
    for one in series:
        by_study[(one.first["PatientID"], one.first["StudyInstanceUID"])].append(one)
    per_patient: dict[str, int] = defaultdict(int)
    for patient, _ in by_study:
        per_patient[patient] += 1
    found: dict[str, list[Series]] = {}
    for (patient, uid), members in sorted(by_study.items()):
        name = patient or f"study_{uid[-12:]}"
        if per_patient[patient] > 1:
            name = f"{name}_{members[0].first['StudyDate'] or uid[-8:]}"
        if name in found:
            name = f"{name}_{uid[-8:]}"
        found[name] = members
    return found


def _drawn_on(members: Sequence[Series]) -> set[str]:
    """Return the series that the labels of a study refer to."""
    from pydicom import dcmread

    from .references import referenced_series

    uids: set[str] = set()
    for series in members:
        if series.kind in ("RTSTRUCT", "SEG"):
            for header in series.headers:
                try:
                    label = dcmread(header.file, stop_before_pixels=True, force=True)
                    uids |= set(referenced_series(label))
                except Exception:  # a damaged label decides nothing; reading it says what is wrong
                    continue
    return uids


def _conversion(source: Source, case: str, choice: Choice, settings: DicomLayout) -> Conversion:
    volumes = {m: tuple(h.file for h in s.headers) for m, s in choice.volumes.items()}
    labels = tuple(header.file for series in choice.labels for header in series.headers)
    first = next(iter(choice.volumes.values())).first
    about = {
        "patient": first["PatientID"],
        "study": first["StudyInstanceUID"],
        "study_date": first["StudyDate"],
        "series": [_row(case, series, reason) for series, reason in choice.reasons],
        "warnings": choice.warnings,
    }
    plan = _Plan(
        case, volumes, {m: s.uid for m, s in choice.volumes.items()}, labels, settings, about
    )
    into = folder_of(source, case)
    patient = first["PatientID"] or case
    scanner = " ".join(first[tag] for tag in ("Manufacturer", "ManufacturerModelName"))
    made = Case(
        id=case,
        patient=patient,
        volumes={name: into / f"{name}.nii.gz" for name in volumes},
        # Known only once the names in the label have been read: see `_write`.
        label=into / "label.nii.gz" if labels else None,
        site=scanner.strip(),
    )
    files = (*(f for fs in volumes.values() for f in fs), *labels)
    # Other settings make other SUV and masks of the same files.
    key = hash_of([settings.model_dump(mode="json"), plan.uids])
    return Conversion(made, files, partial(_write, plan), key)


def _write(plan: _Plan, folder: Path) -> None:
    """Write the volumes of one case; a label is always drawn on one of them."""
    from .volume import read_slices

    about: dict[str, Any] = {**plan.about, "volumes": {}}
    there = {}
    for name, files in plan.volumes.items():
        rule = modality(name)
        slices = read_slices(files, plan.case, -1024.0 if rule.unit == "HU" else 0.0)
        array, notes = slices.array, list(slices.notes)
        record: dict[str, Any] = {"notes": notes}
        if rule.unit == "SUV":
            array = _to_suv(array, slices.headers, plan, record)
        whole = bool((array == np.round(array)).all()) and np.abs(array).max() < 32767
        write_volume(
            folder / f"{name}.nii.gz", array, slices.grid, np.int16 if whole else np.float32
        )
        about["volumes"][name] = record
        there[plan.uids[name]] = (name, slices.grid, slices.headers)
    if plan.labels:
        _write_labels(plan, folder, there, about)
    write_json(folder / "source.json", about)


def _labelled(imported: Imported) -> Imported:
    """Take the label from cases whose contours gave none, and say why."""
    for index, case in enumerate(imported.cases):
        if case.label is not None and not case.label.exists():
            imported.cases[index] = replace(case, label=None)
            about = json.loads((case.label.parent / "source.json").read_text())
            text = (
                f"imported without a label: {about['labels']['none']}; "
                "say which names count with 'labels={pattern: class}'"
            )
            imported.notes.append(Note("warning", "imported without a label", text, case.id))
    return imported


def _to_suv(array: np.ndarray, headers: Sequence[Any], plan: _Plan, record: dict) -> np.ndarray:
    from ..suv.factor import implausible_suv, suv_factor
    from ..suv.tags import read_assume

    suv = suv_factor(
        headers, kind=plan.settings.suv, assume=read_assume(plan.settings.assume), case=plan.case
    )
    record["suv"] = suv.audit
    array = array * np.float32(suv.factor)
    doubt = implausible_suv(array)
    if doubt:
        record["notes"].append(doubt)
    return array


def _write_labels(
    plan: _Plan, folder: Path, there: Mapping[str, tuple], about: dict[str, Any]
) -> None:
    """Write the mask of the CT (else of the first series with one) as the label, others beside."""
    from .labels import NODE_NAMES, read_labels

    table = plan.settings.labels or NODE_NAMES
    series = {uid: (grid, headers) for uid, (_, grid, headers) in there.items()}
    try:
        labels = read_labels(plan.labels, series, table, plan.case)
    except DataError as error:
        # Contours of whatever else are no reason to lose a scan, unless they were asked for.
        if plan.settings.labels is not None:
            raise
        about["labels"] = {"none": str(error)}
        return
    order = sorted(labels, key=lambda label: not there[label.series][0].startswith("ct"))
    about["labels"] = {}
    for number, label in enumerate(order):
        name, grid, _ = there[label.series]
        file = "label.nii.gz" if number == 0 else f"label_{name}.nii.gz"
        write_volume(folder / file, label.mask, grid)
        about["labels"][file] = {
            "drawn_on": name,
            "names": label.names,
            "left_out": label.left_out,
            "notes": label.notes,
        }


def _row(case: str, series: Series, reason: str) -> dict[str, object]:
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
        "what": reason,
    }


def _nothing(members: Sequence[Series], choice: Choice) -> str:
    """Say in one line why a study gives nothing."""
    reasons = "; ".join(f"{series.name}: {reason}" for series, reason in choice.reasons[:4])
    more = f" and {len(members) - 4} more" if len(members) > 4 else ""
    folder = shown(members[0].first.file.parent)
    return f"the study must hold a CT, PET or MR volume, found {reasons}{more} in {folder}"


def _note_unreadable(found: Found, imported: Imported) -> None:
    for path, reason in list(found.unreadable.items())[:20]:
        text = f"{path}: not read, {reason}"
        imported.notes.append(Note("warning", "files that could not be read", text))
    if len(found.unreadable) > 20:
        text = f"{len(found.unreadable) - 20} more could not be read: see dicom.json"
        imported.notes.append(Note("warning", "files that could not be read", text))
