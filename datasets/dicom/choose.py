"""Choose from a visit the CT, the corrected PET and the MR sequences that belong together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from hilum.core.notes import Note

from .contents import matches, modality_of, named, unfit
from .preference import Ranked, has_holes, ranked
from .series import Series, overlap

_LISTED = 3
"""Alternatives that a note names; `dicom.json` has all."""


@dataclass
class Choice:
    """What a visit gives.

    Attributes:
        volumes: Series of each modality.
        labels: Label objects of the visit.
        reasons: What was done with each series, in words, in the order of the visit.
        notes: Why each series was taken rather than its alternatives, and what the user should know
            of the pair.
    """

    volumes: dict[str, Series] = field(default_factory=dict)
    labels: list[Series] = field(default_factory=list)
    reasons: list[tuple[Series, str]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


def choose(
    visit: Sequence[Series],
    names: Mapping[str, str],
    drawn_on: Collection[str] = (),
    anywhere: bool = False,
) -> Choice:
    """Choose one CT, one PET, and one series of each MR sequence.

    Order of preference: a user's name; a series that a label was drawn on; the frame of reference
    of the PET (for CT); no slice missing; originals; gaps below 6 mm; axial slices (MR: or even
    voxels); the longest coverage (within a tenth); a soft kernel and the venous phase (CT), water
    and the highest b-value (MR); thin slices; small pixels; at last the lower series number, which
    is a warning. Scouts, uncorrected PET, dynamic and gated PET, phase images, and pictures made
    from series are never taken, unless a name asks for them; nor is what lies elsewhere than the
    PET (else the CT).

    Args:
        visit: Every series of one visit.
        names: What a description means, `{pattern: modality}`; `skip` leaves a series out. See
            `contents.matches`.
        drawn_on: SeriesInstanceUIDs that labels refer to.
        anywhere: Whether scans of several studies pair wherever they lie, as the user asked.
    """
    choice = Choice()
    verdict: dict[int, str] = {}
    candidates: dict[str, list[Series]] = {}
    asked: set[int] = set()
    for series in visit:
        if series.kind in ("RTSTRUCT", "SEG"):
            choice.labels.append(series)
            verdict[id(series)] = "label"
            continue
        name = named(series, names)
        reason = "left out by its name" if name == "skip" else unfit(series, bool(name))
        if reason:
            verdict[id(series)] = reason
        else:
            asked |= {id(series)} if name else set()
            candidates.setdefault(name or modality_of(series), []).append(series)
    anchor = _anchor(candidates, drawn_on, asked)
    for modality, several in candidates.items():
        fits = _together(anchor, modality, several, choice.notes, anywhere) if anchor else several
        found = ranked(fits, drawn_on, asked) if fits else None
        if found is not None:
            choice.volumes[modality] = found.order[0]
            choice.notes += why(modality, found)
        for series in several:
            best = found.order[0] if found else None
            verdict[id(series)] = _verdict(series, best, modality, anchor, fits)
    choice.reasons = [(series, verdict[id(series)]) for series in visit]
    return choice


def _anchor(
    candidates: Mapping[str, list[Series]], drawn_on: Collection[str], asked: Collection[int]
) -> Series | None:
    """Return what the other volumes must lie with: the PET, else the CT."""
    for family in ("pet", "ct"):
        for modality, several in candidates.items():
            if modality.split("_")[0] == family:
                return ranked(several, drawn_on, asked).order[0]
    return None


def why(modality: str, found: Ranked) -> list[Note]:
    """Return the note of what was taken, why, and rather than what; the last part changes it."""
    best, *others = found.order
    if not others:
        return []
    listed = ", ".join(one.name for one in others[:_LISTED])
    more = f" and {len(others) - _LISTED} more" if len(others) > _LISTED else ""
    text = (
        f"{modality}: {best.name} rather than {listed}{more} ({found.reason}); "
        f"another by --name '{_key(others[0], best)}={modality}'"
    )
    kind = "series that are alike" if found.open else "series chosen of several"
    return [Note("warning" if found.open else "info", kind, text)]


def _key(wanted: Series, instead_of: Series) -> str:
    """Return the shortest name that means one series and not the other."""
    text = wanted.first["SeriesDescription"]
    plain = text and not set(text) & set("'=") and not text.startswith("re:")
    return text if plain and not matches(text, instead_of) else wanted.uid


def _verdict(
    series: Series,
    best: Series | None,
    modality: str,
    anchor: Series | None,
    fits: Sequence[Series],
) -> str:
    if series is best:
        return f"taken as {modality}"
    if best is None or not any(series is one for one in fits):
        other = best.name if best else anchor.name if anchor else "?"
        if best is None:
            return f"not taken: lies elsewhere than {other}"
        return f"not taken: {other} is preferred as {modality}"
    lost = ", since slices are missing here" if has_holes(series) > has_holes(best) else ""
    return f"not taken: {best.name} is preferred as {modality}{lost}"


def _together(
    anchor: Series, modality: str, several: Sequence[Series], notes: list[Note], anywhere: bool
) -> Sequence[Series]:
    """Return the series of the anchor's frame of reference; else those that lie at its place."""
    if any(series is anchor for series in several):
        return several
    frame = anchor.first["FrameOfReferenceUID"]
    same = [s for s in several if frame and s.first["FrameOfReferenceUID"] == frame]
    pair = f"{modality.upper()} and {'PET' if anchor.kind == 'PT' else anchor.kind}"
    if same:
        passed = len(several) - len(same)
        if passed:
            text = f"{pair}: {passed} series of another frame of reference were passed over"
            notes.append(Note("info", "series of another frame of reference", text))
        return same
    near = [series for series in several if overlap(series, anchor) > 0.5]
    study = anchor.first["StudyInstanceUID"]
    far = [s for s in several if s.first["StudyInstanceUID"] != study] if anywhere else []
    text = f"{pair} have no frame of reference in common"
    if near:
        text += "; they lie at the same place"
    elif far:
        text += ", and are of two studies: register them, as with registration=rigid in prepare"
    else:
        text += f" and hardly overlap: no {modality} taken"
    notes.append(Note("warning", "scans without a common frame of reference", text))
    return near or far
