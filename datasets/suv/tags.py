"""The headers of one PET series as the SUV rules read them: one value per tag, all on record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NoReturn

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from hilum.core.errors import DataError, SettingsError, did_you_mean
from hilum.core.notes import Note

ASSUMABLE: dict[str, str] = {
    "units": "BQML, CNTS, GML or CM2ML",
    "corrected": "corrections of the image, as in ATTN+DECY",
    "decay": "START or ADMIN",
    "suv_type": "BW, LBM, LBMJAMES128, LBMJANMA or BSA: what a GML image holds",
    "weight_kg": "weight in kg",
    "weight_unit": "kg, g or lb: unit of the weight in the header",
    "size_m": "height in m",
    "size_unit": "m, cm or mm: unit of the height in the header",
    "sex": "M or F",
    "dose_bq": "injected dose in Bq, at the time of injection",
    "dose_unit": "Bq, kBq, MBq, GBq or mCi: unit of the dose in the header",
    "half_life_s": "half-life in s",
    "injection": "2024-05-15T10:23:00, 10:23:00 (day of the scan), or time-of-day",
    "scan_start": "2024-05-15T11:23:00, 11:23:00, series or acquisition",
    "timezone": "+0100: the scanner's offset from UTC",
    "lbm_formula": "janmahasatian or james",
}
"""What `assume` may hold, and how."""

_CHOICES: dict[str, tuple[str, ...]] = {
    "units": ("BQML", "CNTS", "GML", "CM2ML"),
    "decay": ("START", "ADMIN"),
    "suv_type": ("BW", "LBM", "LBMJAMES128", "LBMJANMA", "BSA"),
    "weight_unit": ("kg", "g", "lb"),
    "size_unit": ("m", "cm", "mm"),
    "dose_unit": ("Bq", "kBq", "MBq", "GBq", "mCi"),
    "sex": ("M", "F"),
    "lbm_formula": ("janmahasatian", "james"),
}
_NUMBERS = ("weight_kg", "size_m", "dose_bq", "half_life_s")


def read_assume(text: str | None) -> dict[str, str | float]:
    """Read `"weight_kg=70,units=BQML"`.

    Examples:
        >>> read_assume("weight_kg=70, units=BQML")
        {'weight_kg': 70.0, 'units': 'BQML'}
    """
    found: dict[str, str | float] = {}
    for part in (text or "").replace(";", ",").split(","):
        key, equals, value = (word.strip() for word in part.partition("="))
        if key and not equals:
            raise SettingsError(
                "assume must read key=value,key=value",
                found=repr(part.strip()),
                remedy="give each key a value",
            )
        if key:
            found[key] = value
    return checked_assume(found)


def checked_assume(assume: Mapping[str, str | float] | None) -> dict[str, str | float]:
    """Return the assumptions with numbers as floats.

    Raises:
        SettingsError: If a key is unknown or a value impossible.
    """
    found: dict[str, str | float] = {}
    for key, value in (assume or {}).items():
        if key not in ASSUMABLE:
            raise SettingsError(
                f"unknown SUV assumption {key!r}{did_you_mean(key, ASSUMABLE)}",
                remedy=f"use {', '.join(ASSUMABLE)}",
            )
        found[key] = _assumed(key, value)
    return found


def _assumed(key: str, value: str | float) -> str | float:
    if key in _NUMBERS:
        number = number_in(str(value))
        if number is None or number <= 0:
            raise SettingsError(
                f"assumed {key} must be a positive number",
                found=repr(value),
                remedy="give it in the unit of the DICOM tag",
            )
        return number
    text = str(value).strip()
    for choice in _CHOICES.get(key, ()):
        if choice.lower() == text.lower():
            return choice
    if key in _CHOICES or not text:
        raise SettingsError(
            f"assumed {key} must be {ASSUMABLE[key]}", found=repr(value), remedy="take one of these"
        )
    return text


class Tags:
    """Tags of all slices of one series, what is assumed in their place, and the record of both."""

    def __init__(
        self, headers: Sequence[Dataset], assume: Mapping[str, str | float] | None, case: str | None
    ) -> None:
        self.assume, self.case = checked_assume(assume), case
        if not headers:
            raise DataError(
                "a PET series must have slices",
                case=case,
                found="none",
                remedy="give the folder of the PET series",
            )
        self.headers = list(headers)
        sequence = self.headers[0].get("RadiopharmaceuticalInformationSequence") or []
        self.drug = sequence[0] if len(sequence) else Dataset()
        self.inputs: dict[str, dict[str, object]] = {}
        self.derived: dict[str, object] = {}
        self.assumed: dict[str, object] = {}
        self.notes: list[Note] = []
        if len(sequence) > 1:
            self.warn(f"{len(sequence)} injections in (0054,0016): only the first is used")

    def taken(self, key: str) -> str | float | None:
        """Return what is assumed for `key`, and put it on record; `None` if nothing is."""
        if key in self.assume:
            self.assumed[key] = self.assume[key]
        return self.assume.get(key)

    def text(self, keyword: str, *, key: str | None = None) -> str:
        """Return a tag that all slices share as text: empty if missing; `key` may replace it.

        Values of several parts are joined by a backslash.
        """
        values = {value_of(header, keyword): None for header in self.headers}
        found = next(iter(values))
        assumed = self.taken(key) if key else None
        numbers = {number_in(value) for value in values}
        if assumed is None and len(values) > 1 and (len(numbers) > 1 or None in numbers):
            parts = " and ".join(repr(value) for value in sorted(values)[:4])
            self.refuse("all slices of a PET series must agree in", keyword, parts, key)
        self._record(keyword, found)
        return str(assumed) if assumed is not None else found

    def number(self, keyword: str, *, key: str | None = None) -> float | None:
        """Return a tag that all slices share as a number; `None` if missing or no number."""
        return number_in(self.text(keyword, key=key))

    def drug_text(self, keyword: str) -> str:
        """Return a tag of the first radiopharmaceutical as text; empty if missing."""
        found = value_of(self.drug, keyword)
        self._record(keyword, found)
        return found

    def drug_number(self, keyword: str) -> float | None:
        """Return a tag of the first radiopharmaceutical as a number; `None` if missing."""
        return number_in(self.drug_text(keyword))

    def private(self, group: int, element: int, creator: str) -> str:
        """Return a private tag that all slices share as text; empty if missing or not the same.

        The block is found by its creator; files that lost the creator keep it at 10.
        """
        values = {_private(header, group, element, creator) for header in self.headers}
        name = f"{creator} ({group:04x},xx{element:02x})"
        if len(values) > 1:
            self.warn(f"{name} differs between slices and is not used")
            return ""
        found = values.pop()
        if found:
            self.inputs[name] = {"tag": f"({group:04x},10{element:02x})", "value": found}
        return found

    def warn(self, text: str, kind: str = "SUV in doubt") -> None:
        """Put a doubt on record."""
        self.notes.append(Note("warning", kind, f"SUV: {text}"))

    def note(self, text: str, kind: str) -> None:
        """Put on record what was settled by a rule."""
        self.notes.append(Note("info", kind, f"SUV: {text}"))

    def refuse(self, rule: str, keyword: str, found: object, key: str | None = None) -> NoReturn:
        """Raise the error that names the tag, what it holds, and what to assume instead."""
        remedy = f"if you know better, add assume={key}=... ({ASSUMABLE[key]})" if key else None
        found = "nothing" if found in ("", None) else found
        raise DataError(f"SUV: {rule} {named(keyword)}", case=self.case, found=found, remedy=remedy)

    def record(self) -> dict[str, object]:
        """Return all that was read, derived, assumed and doubted, as JSON can hold it."""
        return {
            "inputs": self.inputs,
            "derived": self.derived,
            "assumed": self.assumed,
            "warnings": [note.text.removeprefix("SUV: ") for note in self.notes],
        }

    def _record(self, keyword: str, value: str) -> None:
        self.inputs[keyword] = {"tag": tag_of(keyword), "value": value}


def named(keyword: str) -> str:
    """Return `"PatientWeight (0010,1030)"`."""
    return f"{keyword} {tag_of(keyword)}"


def tag_of(keyword: str) -> str:
    """Return `"(0010,1030)"` for `"PatientWeight"`."""
    tag = tag_for_keyword(keyword) or 0
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def value_of(dataset: Dataset, keyword: str) -> str:
    """Return the text of a tag, empty if missing; what its type forbids, as in `70kg`, as it is."""
    try:
        return text_of(dataset.get(keyword))
    except (ValueError, TypeError, OverflowError):
        return text_of(getattr(dataset.get_item(tag_for_keyword(keyword) or 0), "value", None))


def text_of(value: object) -> str:
    """Return the text of a value; many parts are joined by a backslash, as in the file."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("ascii", "replace").strip(" \0")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "\\".join(text_of(part) for part in value)
    return str(value).strip(" \0")


def number_in(text: str) -> float | None:
    """Return the finite number that a text holds, if it does."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _private(header: Dataset, group: int, element: int, creator: str) -> str:
    try:
        return text_of(header.private_block(group, creator)[element].value)
    except KeyError:
        tag = (group, 0x1000 + element)
        return text_of(header[tag].value) if tag in header else ""
