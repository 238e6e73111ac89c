"""Import DICOM: a messy tree of studies becomes cases with NIfTI volumes in HU and SUV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hilum.core.errors import DataError
from hilum.core.files import write_json
from hilum.core.modality import modality
from hilum.core.notes import Note

from ..conversion import Conversion, convert
from ..source import SKIP, Imported, LeftOut, Source, safe_ids
from .case import conversion_of, labelled, row_of
from .choose import Choice, choose
from .contents import matches
from .headers import Found, crawl, require_pydicom, shown
from .series import Series, group
from .settings import DicomLayout
from .visits import Visit, visits_of


def import_dicom(source: Source) -> Imported:
    """Read every visit below a folder; each with a CT, PET or MR becomes a case.

    Writes `cases/<case>/{ct,pet,mr_t1,label}.nii.gz` with `source.json` (series, reasons, the
    record of SUV), and `dicom.json` with what was done with every series. Names of patients are
    not read. A visit that cannot be converted is left out, with the reason.

    Raises:
        DataError: If no visit could be converted.
    """
    require_pydicom()
    return import_found(source, crawl(source.root, progress=source.progress))


def import_found(source: Source, found: Found) -> Imported:
    """Read every visit among headers that were found, as `import_dicom` does."""
    settings = source.settings(DicomLayout)
    from ..suv.tags import read_assume

    read_assume(settings.assume)
    source = replace(source, names={word: name or SKIP for word, name in source.names.items()})
    for name in source.names.values():
        if name != SKIP:
            modality(name)
    series = group(found.headers)
    visits = visits_of(series, settings.pair, settings.pair_days)
    imported = Imported()
    _note_unreadable(found, imported)
    _note_names(source.names, series, imported)
    ids = safe_ids(visits)
    conversions, report = [], []
    for key, visit in visits.items():
        case = ids[key]
        choice = choose(visit.members, source.names, visit.drawn_on, visit.asked)
        report += [row_of(case, series, reason) for series, reason in choice.reasons]
        if not choice.volumes:
            imported.left_out.append(LeftOut(case, _nothing(visit.members, choice)))
            continue
        conversions.append(_conversion(source, case, visit, choice, settings))
    imported = labelled(convert(source, conversions, imported), settings.labels)
    if not imported.cases and not imported.left_out:
        raise DataError(
            "the folder must hold DICOM series of CT, PET or MR",
            file=source.root,
            found=f"{len(found.headers)} DICOM files and {found.other} others",
            remedy="give the folder above the studies",
        )
    write_json(source.out / "dicom.json", {"series": report, "unreadable": found.unreadable})
    return imported.raise_if_empty("DICOM series of CT, PET or MR", source.root)


def _conversion(
    source: Source, case: str, visit: Visit, choice: Choice, settings: DicomLayout
) -> Conversion:
    notes = [*visit.notes, *choice.notes]
    about = {
        "studies": visit.studies,
        "pairing": visit.rule,
        "series": [row_of(case, series, reason) for series, reason in choice.reasons],
        "warnings": [note.text for note in choice.notes if note.severity != "info"],
    }
    return conversion_of(
        source, case, choice.volumes, choice.labels, settings=settings, about=about, notes=notes
    )


def _nothing(members: Sequence[Series], choice: Choice) -> str:
    """Say in one line why a visit gives nothing."""
    reasons = "; ".join(f"{series.name}: {reason}" for series, reason in choice.reasons[:4])
    more = f" and {len(members) - 4} more" if len(members) > 4 else ""
    folder = shown(members[0].first.file.parent)
    return f"the study must hold a CT, PET or MR volume, found {reasons}{more} in {folder}"


def _note_names(names: Mapping[str, str], every: Sequence[Series], imported: Imported) -> None:
    """Warn of names that mean no series, with the descriptions that there are."""
    unused = [name for name in names if not any(matches(name, series) for series in every)]
    if unused:
        texts = sorted({series.first["SeriesDescription"] for series in every} - {""})
        text = f"--name {', '.join(unused)} fits no series; descriptions: {', '.join(texts)}"
        imported.notes.append(Note("warning", "names that fit nothing", text))


def _note_unreadable(found: Found, imported: Imported) -> None:
    for path, reason in list(found.unreadable.items())[:20]:
        text = f"{path}: not read, {reason}"
        imported.notes.append(Note("warning", "files that could not be read", text))
    if len(found.unreadable) > 20:
        text = f"{len(found.unreadable) - 20} more could not be read: see dicom.json"
        imported.notes.append(Note("warning", "files that could not be read", text))
