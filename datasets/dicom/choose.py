"""Choose from a study the CT, the corrected PET and the MR sequences that belong together."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .series import Series, overlap

LEAST_SLICES = 5
THICK_MM = 6.0
"""Wider gaps lose small nodes: such a series is taken only if there is no other."""

# Patterns are for texts in small letters, with a space for all but letters, digits, + and *.
_SCOUT = re.compile(
    r"topogram|scout|\bscano|locali[sz]er|survey|surview|smart ?prep|bolus|\b(pre)?monitoring\b"
    r"|dose ?(report|info|record|summary|page)|(patient|scan) protocol|screen ?(save|shot|capture)"
)
_MADE = re.compile(
    r"\bm(in)?ip\b|\bmpr\b|fusion|fused|curved|\bvrt?\b|volume rendering|3d ?(model|view|rend)"
)
_MADE_TYPES = {"MIP", "MINIP", "MPR", "PROJECTION IMAGE", "REFORMATTED", "VOLUME_RENDERED", "FUSED"}
_RAW = re.compile(
    r"\bnac\b|uncorrected|\bno(n|t)? ?(ac|atn|atte?n?|attenuation)\b|\bno(n|t)? ?att?c?\b"
    r"|(\bw ?o|without) ?(ac|ctac|att?c?|attenuation)\b"
)
_SHARP = re.compile(r"bone|lung|edge|sharp|detail|\b[bihu][rfs]?[67-9]\d")
_CONTRAST = re.compile(r"\+ ?(c|gd|km|ce)\b|\bgd\b|gado|\bpost|\bc?ce\b|\bkm\b|contrast|\bdce\b")
_PLAIN = re.compile(r"\bpre\b|without|\bno\b|\bnon\b|\bw ?o\b|nativ|unenhanced|\bplain\b")
_SEQUENCES = (
    ("mr_adc", r"\badc\b|apparent"),
    ("mr_dwi", r"dwi|\bdiff?\b|diffusion|\btrace|\bb ?\d{2,4}\b"),
    ("mr_t1", r"\bt1.*flair"),
    ("mr_flair", r"flair|dark fluid"),
    ("mr_swi", r"\bswi\b|\bswan\b|t2 ?(\*|star\b)"),
    ("mr_t2", r"t2|tse2|stir|haste|tirm"),
    ("mr_t1", r"t1|mprage|bravo|\bvibe|flash|spgr|\blava|thrive"),
    ("mr_pd", r"\bpd|proton density"),
)


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
    of the PET (for CT); no slice missing; originals; gaps below 6 mm; axial slices (CT, PET); the
    longest coverage (within a tenth); a soft kernel; thin slices; small pixels. Scouts, uncorrected
    PET, dynamic and gated PET, and pictures made from series are never taken, unless a name asks
    for them; nor is what lies elsewhere than the PET (else the CT).

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
    anchor = _anchor(candidates, drawn_on)
    for modality, several in candidates.items():
        fits = _together(anchor, modality, several, choice.warnings) if anchor else several
        best = _best(fits, drawn_on) if fits else None
        if best is not None:
            choice.volumes[modality] = best
        for series in several:
            verdict[id(series)] = _verdict(series, best, modality, anchor, fits)
    choice.reasons = [(series, verdict[id(series)]) for series in study]
    return choice


def _anchor(candidates: Mapping[str, list[Series]], drawn_on: Collection[str]) -> Series | None:
    """Return what the other volumes must lie with: the PET, else the CT."""
    for family in ("pet", "ct"):
        for modality, several in candidates.items():
            if modality.split("_")[0] == family:
                return _best(several, drawn_on)
    return None


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
    lost = ", since slices are missing here" if _has_holes(series) > _has_holes(best) else ""
    return f"not taken: {best.name} is preferred as {modality}{lost}"


def _named(series: Series, names: Mapping[str, str]) -> str | None:
    for pattern, modality in names.items():
        if re.search(pattern, series.first["SeriesDescription"], re.IGNORECASE):
            return modality
    return None


def _modality(series: Series) -> str:
    if series.kind != "MR":
        return {"CT": "ct", "PT": "pet"}[series.kind]
    texts = [_plain(series.first[t]) for t in ("SeriesDescription", "ProtocolName", "SequenceName")]
    # The description is of this series, the protocol may be of several.
    found = next((m for text in texts for m, p in _SEQUENCES if re.search(p, text)), "mr")
    if found == "mr_t1" and not _PLAIN.search(texts[0]):
        contrast = _CONTRAST.search(texts[0]) or series.first["ContrastBolusAgent"]
        return "mr_t1_ce" if contrast else found
    return found


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9+*]+", " ", text.lower())


def _unfit(series: Series, wanted: bool) -> str | None:
    """Return why a series cannot be taken, or nothing."""
    kind = series.kind
    if kind not in ("CT", "PT", "MR"):
        return f"{kind} is no volume of CT, PET or MR"
    if series.enhanced and not series.first["Frame"]:
        return "a class with many frames in a file, but without the groups that place them"
    if series.enhanced and series.part:
        return "holds several volumes in one file, which is not supported: export single frames"
    if len(series.headers) < LEAST_SLICES:
        return f"{len(series.headers)} slices are too few for a volume"
    if not series.places.size:
        return "ImagePositionPatient or ImageOrientationPatient is missing"
    return None if wanted else _unwanted(series)


def _unwanted(series: Series) -> str | None:
    """Return why nobody would train on a series, or nothing."""
    first = series.first
    types, text = set(first.words("ImageType")), _plain(first["SeriesDescription"])
    if "LOCALIZER" in types or _SCOUT.search(text):
        return "a scout or a report"
    kinds = set(first.words("SeriesType"))
    if _MADE.search(text) or types & _MADE_TYPES or "REPROJECTION" in kinds:
        return "made from another series"
    if series.kind != "PT":
        return None
    made = first.words("CorrectedImage")
    if (made and "ATTN" not in made) or _RAW.search(text):
        return "not corrected for attenuation"
    return "dynamic or gated" if {"DYNAMIC", "GATED"} & kinds else None


def _best(several: Sequence[Series], drawn_on: Collection[str]) -> Series:
    longest = max(series.extent_mm for series in several)

    def rank(series: Series) -> tuple:
        first = series.first
        text = _plain(f"{first['ConvolutionKernel']} {first['SeriesDescription']}")
        pixels = first.numbers("PixelSpacing", 2) or (0.0, 0.0)
        return (
            series.uid not in drawn_on,
            _has_holes(series),
            "ORIGINAL" not in first.words("ImageType"),
            series.gap_mm > THICK_MM,
            series.kind != "MR" and not series.axial,
            series.extent_mm < 0.9 * longest,
            series.kind == "CT" and bool(_SHARP.search(text)),
            round(series.gap_mm, 2),
            round(pixels[0], 3),
            series.part,
            series.uid,
        )

    return min(several, key=rank)


def _has_holes(series: Series) -> bool:
    """Say whether a gap is half as wide again as the usual one."""
    gaps = np.diff(np.unique(np.round(series.places, 2)))
    return bool(gaps.size) and float(gaps.max()) > 1.5 * float(np.median(gaps))


def _together(
    anchor: Series, modality: str, several: Sequence[Series], warnings: list[str]
) -> Sequence[Series]:
    """Return the series of the anchor's frame of reference; else those that lie at its place."""
    if any(series is anchor for series in several):
        return several
    frame = anchor.first["FrameOfReferenceUID"]
    same = [s for s in several if frame and s.first["FrameOfReferenceUID"] == frame]
    if same:
        return same
    near = [series for series in several if overlap(series, anchor) > 0.5]
    pair = f"{modality.upper()} and {'PET' if anchor.kind == 'PT' else anchor.kind}"
    warnings.append(
        f"{pair} have no frame of reference in common"
        + ("; they lie at the same place" if near else f" and hardly overlap: no {modality} taken")
    )
    return near
