"""Tell what a series shows: its modality, and whether anybody would train on it."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping

from .series import Series

LEAST_SLICES = 5

# Patterns are for texts in small letters, with a space for all but letters, digits, + and *.
_SCOUT = re.compile(
    r"topogram|scout|\bscano|locali[sz]er|survey|surview|smart ?prep|bolus|\b(pre)?monitoring\b"
    r"|dose ?(report|info|record|summary|page)|(patient|scan) protocol|screen ?(save|shot|capture)"
)
_MADE = re.compile(
    r"\bm(in)?ip\b|\bmpr\b|fusion|fused|curved|\bvrt?\b|volume rendering|3d ?(model|view|rend)"
)
_MADE_TYPES = {
    "MIP", "MINIP", "MPR", "PROJECTION IMAGE", "REFORMATTED", "VOLUME_RENDERED", "FUSED",
    "SUB", "SUBTRACT", "SUBTRACTION", "IODINE", "IODINE_MAP", "MATERIAL", "PERFUSION", "CBF", "CBV",
    "MTT", "TTP", "TMAX", "Z_EFF", "EFF_Z", "RHO", "PARAMETRIC", "FRACTIONAL ANISOTROPY", "FA",
    "FA_MAP", "EADC", "EXPONENTIAL_ADC", "T1 MAP", "T2 MAP",
}  # fmt: skip
"""Values of ImageType of what was computed and does not have the unit of its modality."""
_PARTIAL_MR = {
    "P": "phase", "PHASE": "phase", "PHASE MAP": "phase", "R": "real part", "REAL": "real part",
    "I": "imaginary part", "IMAGINARY": "imaginary part",
}  # fmt: skip
_RAW = re.compile(
    r"\bnac\b|uncorrected|\bno(n|t)? ?(ac|atn|atte?n?|attenuation)\b|\bno(n|t)? ?att?c?\b"
    r"|(\bw ?o|without) ?(ac|ctac|att?c?|attenuation)\b"
)
_CONTRAST = re.compile(r"\+ ?(c|gd|km|ce)\b|\bgd\b|gado|\bpost|\bc?ce\b|\bkm\b|contrast|\bdce\b")
_PLAIN = re.compile(r"\bpre\b|without|\bno\b|\bnon\b|\bw ?o\b|nativ|unenhanced|\bplain\b")
_ADC_TYPES = {"ADC", "ADC_MAP", "ADC MAP", "APPARENT_DIFFUSION_COEFFICIENT", "D_ADC"}
_DWI_TYPES = {"DIFFUSION", "TRACE", "TRACEW", "TRACE_WEIGHTED", "DWI", "B_VALUE", "CALC_BVALUE"}
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


def modality_of(series: Series) -> str:
    """Return the modality of a CT, PET or MR by its kind, ImageType and description.

    ImageType comes first for diffusion: a scanner copies the name of the sequence to the ADC map
    and the trace that it computes of it.
    """
    if series.kind != "MR":
        return {"CT": "ct", "PT": "pet"}[series.kind]
    types = set(series.first.words("ImageType"))
    if types & _ADC_TYPES:
        return "mr_adc"
    texts = [plain(series.first[t]) for t in ("SeriesDescription", "ProtocolName", "SequenceName")]
    # The description is of this series, the protocol may be of several.
    found = next((m for text in texts for m, p in _SEQUENCES if re.search(p, text)), "mr")
    # A map may carry the words of its sequence; what is original is never a map.
    if types & _DWI_TYPES and (found != "mr_adc" or "ORIGINAL" in types):
        return "mr_dwi"
    b_value = series.first.numbers("DiffusionBValue", 1)
    if b_value and b_value[0] > 0 and found != "mr_adc":
        return "mr_dwi"
    if found == "mr_t1" and not _PLAIN.search(texts[0]):
        contrast = _CONTRAST.search(texts[0]) or series.first["ContrastBolusAgent"]
        return "mr_t1_ce" if contrast else found
    return found


def matches(pattern: str, series: Series) -> bool:
    """Say whether a name means a series.

    A pattern is text that the description contains, a glob (`*`, `?`) that it fits as a whole, or
    a regular expression after `re:`, whatever the case; or the SeriesInstanceUID.
    """
    text = series.first["SeriesDescription"]
    if pattern == series.uid:
        return True
    if pattern.startswith("re:"):
        return re.search(pattern[3:], text, re.IGNORECASE) is not None
    pattern, text = pattern.casefold(), text.casefold()
    if "*" in pattern or "?" in pattern:
        return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]")) or pattern in text
    return pattern in text


def named(series: Series, names: Mapping[str, str]) -> str | None:
    """Return what the user calls a series: a modality, `skip`, or nothing."""
    return next((name for pattern, name in names.items() if matches(pattern, series)), None)


def unfit(series: Series, wanted: bool) -> str | None:
    """Return why a series cannot be taken, or nothing; `wanted` ones need be volumes only."""
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


def plain(text: str) -> str:
    """Return a text in small letters, with a space for all but letters, digits, + and *."""
    return re.sub(r"[^a-z0-9+*]+", " ", text.lower())


def _unwanted(series: Series) -> str | None:
    """Return why nobody would train on a series, or nothing."""
    first = series.first
    words = first.words("ImageType")
    types, text = set(words), plain(first["SeriesDescription"])
    if "LOCALIZER" in types or _SCOUT.search(text):
        return "a scout or a report"
    kinds = set(first.words("SeriesType"))
    if _MADE.search(text) or types & _MADE_TYPES or "REPROJECTION" in kinds:
        return "made from another series"
    if series.kind == "MR":
        part = next((_PARTIAL_MR[word] for word in words[2:] if word in _PARTIAL_MR), None)
        return f"the {part} of the signal, not its magnitude" if part else None
    if series.kind != "PT":
        return None
    made = first.words("CorrectedImage")
    if (made and "ATTN" not in made) or _RAW.search(text):
        return "not corrected for attenuation"
    return "dynamic or gated" if {"DYNAMIC", "GATED"} & kinds else None
