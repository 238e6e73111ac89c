"""Half-lives of the nuclides of PET, and how long after the injection a scan can still be one."""

from __future__ import annotations

import re

# Seconds (NNDC). The comment of a table entry is the half-life as people quote it.
HALF_LIVES: dict[str, float] = {
    "F-18": 6586.2,  # 109.77 min
    "Ga-68": 4062.6,  # 67.71 min
    "C-11": 1221.8,  # 20.36 min
    "N-13": 597.9,  # 9.965 min
    "O-15": 122.24,
    "Rb-82": 76.38,
    "Cu-60": 1422.0,  # 23.7 min
    "Cu-61": 12013.0,  # 3.34 h
    "Cu-62": 580.2,  # 9.67 min
    "Cu-64": 45723.6,  # 12.70 h
    "Zr-89": 282276.0,  # 78.41 h
    "I-124": 360806.0,  # 4.176 d
    "Sc-43": 14007.6,  # 3.89 h
    "Sc-44": 14551.2,  # 4.04 h
    "Y-86": 53064.0,  # 14.74 h
    "Y-90": 230400.0,  # 64.0 h
    "Ga-66": 34164.0,  # 9.49 h
    "Br-76": 58320.0,  # 16.2 h
    "Tc-94m": 3120.0,  # 52.0 min
    "Mn-52": 483062.0,  # 5.591 d
    "Tb-152": 63000.0,  # 17.5 h
}
TOLERANCE = 0.02
"""Share by which a header's half-life may differ from the table's."""

_SYMBOLS = {
    "fluor": "F",
    "gallium": "Ga",
    "carbon": "C",
    "nitrogen": "N",
    "oxygen": "O",
    "rubidium": "Rb",
    "copper": "Cu",
    "zirconium": "Zr",
    "iodine": "I",
    "scandium": "Sc",
    "yttrium": "Y",
    "bromine": "Br",
    "technetium": "Tc",
    "manganese": "Mn",
    "terbium": "Tb",
}
_SHORT_S = 3 * 3600
_HOURS = 6 * 3600


def nuclide_of(seconds: float) -> str | None:
    """Return the nuclide whose half-life is within 2 % of `seconds`, the closest if several are.

    Examples:
        >>> nuclide_of(6588), nuclide_of(4080), nuclide_of(110)
        ('F-18', 'Ga-68', None)
    """
    name = min(HALF_LIVES, key=lambda key: abs(HALF_LIVES[key] - seconds))
    return name if abs(HALF_LIVES[name] - seconds) <= TOLERANCE * HALF_LIVES[name] else None


def nuclide_in(text: str) -> str | None:
    """Return the nuclide that a free text or code meaning names, if it names a known one.

    Examples:
        >>> nuclide_in("^18^Fluorine"), nuclide_in("68Ga"), nuclide_in("FDG -- fluorodeoxyglucose")
        ('F-18', 'Ga-68', 'F-18')
    """
    plain, gap = re.sub(r"[\^\[\]()]", "", text), r"[\s_-]*"
    for name in HALF_LIVES:
        symbol, mass = name.split("-")
        long = next((word for word, short in _SYMBOLS.items() if short == symbol), symbol)
        word = rf"({symbol}(?![a-z])|(?i:{long})[a-z]*)"
        if re.search(rf"(?<!\d){mass}{gap}{word}|(?<![A-Za-z]){word}{gap}{mass}(?!\d)", plain):
            return name
    return "F-18" if re.search(r"(?i)\bFDG\b|fluorodeoxyglucose", text) else None


def longest_delay_s(half_life_s: float) -> float:
    """Return the longest plausible time from the injection to the scan, in s.

    6 h or 6 half-lives, whichever is shorter, for nuclides that are gone within the day; 4
    half-lives for those that are scanned on later days (Cu-64: 2 days, Zr-89: 13 days).
    """
    if half_life_s < _SHORT_S:
        return min(_HOURS, 6 * half_life_s)
    return 4 * half_life_s


def scanned_on_later_days(half_life_s: float) -> bool:
    """Say whether the day of the injection cannot be told from the time of day alone.

    Examples:
        >>> scanned_on_later_days(6586.2), scanned_on_later_days(45723.6)
        (False, True)
    """
    return half_life_s >= _SHORT_S
