"""Choose from a study the CT, the corrected PET and the MR sequences that belong together."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from .dicom_series import ENHANCED, Series, overlap

LEAST_SLICES = 5
_SCOUT = re.compile(
    r"topogram|scout|scano|localizer|survey|screen|dose|protocol|bolus|monitor", re.I
)
_MADE = re.compile(r"\bmip\b|\bmpr\b|fusion|fused|coronal|sagittal|\bcor\b|\bsag\b|curved|3d", re.I)
_RAW = re.compile(r"\bnac\b|uncorrected|no[\s_-]?a(tt)?c\b|non[\s_-]?a(tt)?c\b|without ac", re.I)
_SHARP = re.compile(r"bone|lung|edge|sharp|detail|[bihu][rfs]?[67-9]\d", re.I)
_SEQUENCES = {
    "mr_flair": r"flair",
    "mr_adc": r"\badc\b|apparent",
    "mr_dwi": r"dwi|diff|trace|b\s?\d{3,4}",
    "mr_t2": r"t2|tse2|stir|haste|tirm",
    "mr_t1": r"t1|mprage|vibe|flash|spgr|lava|thrive",
}


@dataclass
class Choice:
    """What a study gives.

    Attributes:
        volumes: Series of each modality.
        labels: Label objects of the study.
        reasons: What was done with each series, in words, in the order of the study.
        warnings: What the user should know of the pair.
    """

    volumes: dict[str, Series] = field(default_factory=dict)
    labels: list[Series] = field(default_factory=list)
    reasons: list[tuple[Series, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def choose(
    study: Sequence[Series], names: Mapping[str, str], drawn_on: Collection[str] = ()
) -> Choice:
    """Choose one CT, one PET, and one series of each MR sequence.

    Order of preference: a user's name; a series that a label was drawn on; the frame of reference
    of the PET (for CT); originals; the longest coverage (within a tenth); a soft kernel; thin
    slices. Scouts, uncorrected PET, dynamic and gated PET, and reformatted pictures are never
    taken, unless a name asks for them.

    Args:
        study: Every series of one study.
        names: What a description means, `{pattern: modality}`; `skip` leaves a series out.
        drawn_on: SeriesInstanceUIDs that labels refer to.
    """
    choice = Choice()
    verdict: dict[int, str] = {}
    candidates: dict[str, list[Series]] = {}
    for series in study:
        if series.kind in ("RTSTRUCT", "SEG"):
            choice.labels.append(series)
            verdict[id(series)] = "label"
            continue
        named = _named(series, names)
        reason = "left out by its name" if named == "skip" else _unfit(series, bool(named))
        if reason:
            verdict[id(series)] = reason
        else:
            candidates.setdefault(named or _modality(series), []).append(series)
    pet = candidates.get("pet")
    first = _best(pet, drawn_on) if pet else None
    for modality, several in candidates.items():
        fits = several
        if modality.startswith("ct") and first is not None:
            fits = _together(first, several, choice.warnings)
        best = first if modality == "pet" and first is not None else _best(fits, drawn_on)
        choice.volumes[modality] = best
        for series in several:
            verdict[id(series)] = (
                f"taken as {modality}"
                if series is best
                else f"not taken: {best.name} is preferred as {modality}"
            )
    choice.reasons = [(series, verdict[id(series)]) for series in study]
    return choice


def _named(series: Series, names: Mapping[str, str]) -> str | None:
    for pattern, modality in names.items():
        if re.search(pattern, series.first["SeriesDescription"], re.IGNORECASE):
            return modality
    return None


def _modality(series: Series) -> str:
    if series.kind != "MR":
        return {"CT": "ct", "PT": "pet"}[series.kind]
    tags = ("SeriesDescription", "ProtocolName", "SequenceName")
    text = " ".join(series.first[tag] for tag in tags)
    return next((m for m, p in _SEQUENCES.items() if re.search(p, text, re.IGNORECASE)), "mr")


def _unfit(series: Series, wanted: bool) -> str | None:
    """Return why a series cannot be taken, or nothing."""
    kind = series.kind
    if kind in ENHANCED.values():
        return f"{kind} holds many frames in a file, which is not supported: export single frames"
    if kind not in ("CT", "PT", "MR"):
        return f"{kind} is no volume of CT, PET or MR"
    if len(series.headers) < LEAST_SLICES:
        return f"{len(series.headers)} slices are too few for a volume"
    if not series.places.size:
        return "ImagePositionPatient or ImageOrientationPatient is missing"
    return None if wanted else _unwanted(series)


def _unwanted(series: Series) -> str | None:
    """Return why nobody would train on a series, or nothing."""
    first = series.first
    types, text = set(first.words("ImageType")), first["SeriesDescription"]
    if "LOCALIZER" in types or _SCOUT.search(text):
        return "a scout or a report"
    if _MADE.search(text) or types & {"MIP", "PROJECTION IMAGE", "REFORMATTED", "MPR"}:
        return "made from another series"
    if series.kind != "PT":
        return None
    made = first.words("CorrectedImage")
    if (made and "ATTN" not in made) or _RAW.search(text):
        return "not corrected for attenuation"
    dynamic = {"DYNAMIC", "GATED"} & set(first.words("SeriesType"))
    return "dynamic or gated" if dynamic else None


def _best(several: Sequence[Series], drawn_on: Collection[str]) -> Series:
    longest = max(series.extent_mm for series in several)

    def rank(series: Series) -> tuple:
        first = series.first
        soft = not _SHARP.search(f"{first['ConvolutionKernel']} {first['SeriesDescription']}")
        return (
            series.uid not in drawn_on,
            "ORIGINAL" not in first.words("ImageType"),
            series.extent_mm < 0.9 * longest,
            not soft,
            round(series.gap_mm, 2),
            series.part,
            series.uid,
        )

    return min(several, key=rank)


def _together(pet: Series, several: Sequence[Series], warnings: list[str]) -> Sequence[Series]:
    """Return the CTs of the PET's frame of reference; else those that lie at the same place."""
    frame = pet.first["FrameOfReferenceUID"]
    same = [s for s in several if frame and s.first["FrameOfReferenceUID"] == frame]
    if same:
        return same
    near = [series for series in several if overlap(series, pet) > 0.5]
    warnings.append(
        "CT and PET have no frame of reference in common"
        + ("; they lie at the same place" if near else " and hardly overlap: check them")
    )
    return near or several
