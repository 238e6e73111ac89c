"""Put series of one modality in order of preference, and say what decided."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np

from .contents import plain
from .kernels import sharpness, shown_kernel
from .series import Series

THICK_MM = 6.0
"""Wider gaps lose small nodes: such a series is taken only if there is no other."""
_EVEN = 2.0
"""A volume whose gaps are up to this many pixels wide can be looked at from any side."""
_PHASES = (
    ("venous", r"venous|venös|veineux|portal|\bpv\b|\bven\b|\bpvp\b|\b[67]0 ?s(ec)?\b"),
    ("arterial", r"arter|\bart\b|\b[23][05] ?s(ec)?\b|angio|\bcta\b"),
    ("delayed", r"delay|late|spät|tardi|\bdel\b|excret|\b[35] ?min\b|\b(180|300) ?s(ec)?\b"),
    ("plain", r"nativ|without|\bno ?contrast|\bnon ?contrast|unenhanced|\bplain\b|\bnc\b|\bpre\b"),
)
_RANK = {"venous": 0, "": 1, "plain": 1, "arterial": 2, "delayed": 3}
"""Nodes are read in the venous phase; a series that names no phase comes next."""


class Criterion(NamedTuple):
    """One reason to prefer a series: the smaller key wins.

    Attributes:
        words: The reason.
        key: Of a series.
        shown: The property that the key is of, in words.
    """

    words: str
    key: Callable[[Series], float | str]
    shown: Callable[[Series], str] = lambda _: ""


class Ranked(NamedTuple):
    """Series in order of preference.

    Attributes:
        order: The preferred one first.
        reason: What decided between the first and the second; empty if there is one.
        open: Whether the first two are alike in all that counts.
    """

    order: list[Series]
    reason: str
    open: bool


def ranked(
    several: Sequence[Series], drawn_on: Collection[str] = (), named: Collection[int] = ()
) -> Ranked:
    """Return series in order: by what a user or a label names, then by what shows nodes best.

    Args:
        several: One or more of one modality.
        drawn_on: SeriesInstanceUIDs that labels refer to.
        named: `id` of each series that the user names.
    """
    criteria = _criteria(several, drawn_on, named)
    order = sorted(several, key=lambda one: (*(c.key(one) for c in criteria), *_last(one)))
    if len(order) == 1:
        return Ranked(order, "", False)
    first, second = order[:2]
    for one in criteria:
        if one.key(first) != one.key(second):
            values = one.shown(first), one.shown(second)
            detail = f": {values[0]} before {values[1]}" if all(values) else ""
            return Ranked(order, f"{one.words}{detail}", False)
    return Ranked(order, "alike in all that counts, the lower series number", True)


def has_holes(series: Series) -> bool:
    """Say whether a gap is half as wide again as the usual one."""
    gaps = np.diff(np.unique(np.round(series.places, 2)))
    return bool(gaps.size) and float(gaps.max()) > 1.5 * float(np.median(gaps))


def phase_of(series: Series) -> str:
    """Return the phase of contrast that a description names, or nothing."""
    text = plain(series.first["SeriesDescription"])
    return next((name for name, pattern in _PHASES if re.search(pattern, text)), "")


def _criteria(
    several: Sequence[Series], drawn_on: Collection[str], named: Collection[int]
) -> list[Criterion]:
    longest = max(series.extent_mm for series in several)
    kind = several[0].kind
    found = [
        Criterion("named by the user", lambda s: id(s) not in named),
        Criterion("a label was drawn on it", lambda s: s.uid not in drawn_on),
        Criterion("no slice is missing", has_holes),
        Criterion(
            "original",
            lambda s: _derived(s),
            lambda s: "\\".join(s.first.words("ImageType")[:3]) or "no ImageType",
        ),
        Criterion(f"gaps up to {THICK_MM:g} mm", lambda s: s.gap_mm > THICK_MM, _gap),
        Criterion("axial", _turned, _direction),
        Criterion(
            "longer", lambda s: s.extent_mm < 0.9 * longest, lambda s: f"{s.extent_mm:.0f} mm"
        ),
    ]
    if kind == "CT":
        found += [
            Criterion(
                "soft kernel",
                lambda s: sharpness(s.first) == "sharp",
                lambda s: shown_kernel(s.first),
            ),
            Criterion(
                "phase of contrast", lambda s: _RANK[phase_of(s)], lambda s: phase_of(s) or "none"
            ),
        ]
    if kind == "MR":
        found += [
            Criterion("water, not fat", _fat),
            Criterion("trace of all directions", _direction_of_diffusion),
            Criterion("higher b-value", lambda s: -_b_value(s), lambda s: f"b {_b_value(s):g}"),
        ]
    found += [
        Criterion("thinner", lambda s: round(s.gap_mm, 2), _gap),
        Criterion("thinner slices", _thickness, lambda s: f"{_thickness(s):g} mm"),
        Criterion("finer pixels", lambda s: round(_pixel(s), 3), lambda s: f"{_pixel(s):.3g} mm"),
    ]
    return found


def _last(series: Series) -> tuple:
    """Return what decides between series that are alike: their part, number and UID."""
    number = series.first["SeriesNumber"]
    return series.part, int(number) if number.lstrip("-").isdigit() else 10**9, series.uid


def _derived(series: Series) -> bool:
    types = series.first.words("ImageType")
    # An ADC map and a trace are derived by nature.
    diffusion = {"ADC", "ADC_MAP", "TRACEW", "TRACE"} & set(types)
    return "ORIGINAL" not in types and not diffusion


def _turned(series: Series) -> bool:
    """Say whether slices are not axial, and too thick to look at from another side."""
    if series.axial:
        return False
    return series.kind != "MR" or series.gap_mm > _EVEN * max(_pixel(series), 1e-3)


def _direction(series: Series) -> str:
    turn = series.first.numbers("ImageOrientationPatient", 6)
    if turn is None:
        return ""
    normal = np.abs(np.cross(turn[:3], turn[3:]))
    return ("sagittal", "coronal", "axial")[int(normal.argmax())]


def _fat(series: Series) -> bool:
    types, text = set(series.first.words("ImageType")), plain(series.first["SeriesDescription"])
    fat = {"FAT", "F", "OPP_PHASE", "OUT_PHASE", "OP", "FAT_FRACTION"}
    return bool(types & fat) or bool(re.search(r"\bf$|\bfat$|\b(opp|out)\b", text))


def _direction_of_diffusion(series: Series) -> bool:
    types = set(series.first.words("ImageType"))
    return "DIFFUSION" in types and not types & {"TRACEW", "TRACE", "ADC"}


def _b_value(series: Series) -> float:
    """Return the b-value of a series of one; 0 of others."""
    value = series.first.numbers("DiffusionBValue", 1)
    if value is not None:
        return value[0]
    found = re.findall(r"\bb ?(\d{2,4})\b", plain(series.first["SeriesDescription"]))
    return float(found[0]) if len(found) == 1 else 0.0


def _thickness(series: Series) -> float:
    value = series.first.numbers("SliceThickness", 1)
    return round(value[0], 2) if value is not None else 0.0


def _pixel(series: Series) -> float:
    return (series.first.numbers("PixelSpacing", 2) or (0.0, 0.0))[0]


def _gap(series: Series) -> str:
    return f"{series.gap_mm:.3g} mm"
