"""The factor from the values of a PET series to SUV, with a record of every input.

Follows the QIBA pseudo-code for SUV (FDG-PET/CT profile), with the private tags of Philips and GE.
Nothing is guessed: what is missing or implausible is refused with the tag and the key of `assume`
that would stand in for it. Values must be rescaled slice by slice first, since slopes differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydicom import Dataset

from hilum.core.notes import Note

from .body import Measure, body_measure
from .nuclides import HALF_LIVES, TOLERANCE, nuclide_in, nuclide_of
from .tags import Tags, number_in
from .time import delay_s

Kind = Literal["bw", "lbm", "bsa"]

_DOSE_UNITS = {"Bq": 1.0, "kBq": 1e3, "MBq": 1e6, "GBq": 1e9, "mCi": 3.7e7}
_WEIGHT_UNITS = {"kg": 1.0, "g": 1e-3, "lb": 0.45359237}
_SIZE_UNITS = {"m": 1.0, "cm": 1e-2, "mm": 1e-3}
_STORED: dict[str, Measure] = {
    "BW": "bw",
    "LBM": "lbm_james",
    "LBMJAMES128": "lbm_james128",
    "LBMJANMA": "lbm_janmahasatian",
    "BSA": "bsa",
}
_DOSE, _HALF_LIFE = "RadionuclideTotalDose", "RadionuclideHalfLife"
_PHILIPS = "Philips PET Private Group"


@dataclass(frozen=True)
class Suv:
    """What turns rescaled values of a series into SUV.

    Attributes:
        factor: SUV = factor x (pixel x RescaleSlope + RescaleIntercept).
        audit: `kind`, `factor`, `rule`, and `inputs` (tag and value), `derived`, `assumed`,
            `warnings`; JSON can hold it.
        notes: The doubts, for the user.
    """

    factor: float
    audit: dict[str, object]
    notes: tuple[Note, ...] = ()


def suv_factor(
    headers: Sequence[Dataset],
    *,
    kind: Kind = "bw",
    assume: Mapping[str, str | float] | None = None,
    case: str | None = None,
) -> Suv:
    """Return the factor for one PET series.

    Args:
        headers: All slices of the series; pixels are not needed.
        kind: Body weight (g/ml), lean body mass (g/ml; Janmahasatian, unless `lbm_formula`) or body
            surface area (cm^2/ml).
        assume: What to take for granted whatever the header says; see `suv_tags.ASSUMABLE`.
        case: For messages.

    Raises:
        DataError: If a tag that the rule needs is missing, implausible or differs between slices.
        SettingsError: If `assume` is no good.
    """
    tags = Tags(headers, assume, case)
    units = tags.text("Units", key="units").upper()
    if units in ("GML", "CM2ML"):
        _require_corrections(tags, ("ATTN",))
        factor, rule = _from_suv(tags, kind, units)
    elif units in ("BQML", "CNTS"):
        _require_corrections(tags, ("ATTN", "DECY"))
        factor, rule = (_from_activity if units == "BQML" else _from_counts)(tags, kind)
    else:
        tags.refuse("values must be in BQML, CNTS, GML or CM2ML,", "Units", units, "units")
    audit = {"kind": kind, "factor": factor, "rule": rule, **tags.record()}
    return Suv(factor, audit, tuple(tags.notes))


def implausible_suv(array: np.ndarray) -> str | None:
    """Return why an SUV volume cannot be right, or `None`.

    By definition the mean over the body is near 1. The body is taken as what exceeds 0.1; means up
    to 10 pass, since a crop around a tumour or a bladder is far from the mean.
    """
    if not array.size or not np.isfinite(array).all():
        return "SUV must be finite numbers"
    top = float(array.max())
    if top > 500:
        return f"an SUV of {top:.4g} is not possible (above 500): activity, or a wrong dose unit?"
    body = array[array > 0.1]
    if body.size < 1e-3 * array.size:
        return f"next to no voxel exceeds an SUV of 0.1 (highest {top:.3g}): a wrong dose unit?"
    mean = float(body.mean(dtype=np.float64))
    if mean > 10:
        return f"a body mean SUV of {mean:.3g} is not possible (above 10)"
    return None


def _require_corrections(tags: Tags, needed: tuple[str, ...]) -> None:
    found = tags.text("CorrectedImage", key="corrected").upper()
    for name in needed:
        if name not in found.replace("+", "\\").split("\\"):
            tags.refuse(f"{name} must be among", "CorrectedImage", found, "corrected")


def _from_suv(tags: Tags, kind: Kind, units: str) -> tuple[float, str]:
    """Convert SUV of one kind to another; without SUVType, g/ml is by weight (PS3.3 C.8.9.1)."""
    default = "BW" if units == "GML" else "BSA"
    stored = tags.text("SUVType", key="suv_type").upper() or default
    if stored not in _STORED:
        tags.refuse("no conversion is agreed on for", "SUVType", stored, "suv_type")
    have, want = _STORED[stored], _wanted(tags, kind)
    if have == want:
        return 1.0, f"{units}: already SUV by {stored}"
    factor = _measure(tags, want) / _measure(tags, have)
    return factor, f"{units}: from SUV by {stored} to {want}"


def _from_counts(tags: Tags, kind: Kind) -> tuple[float, str]:
    scale = number_in(tags.private(0x7053, 0x00, _PHILIPS)) or 0.0
    if scale > 0:
        # This private factor leads to body weight.
        return scale * _ratio_to_weight(tags, kind), "CNTS: Philips SUV factor (7053,xx00)"
    activity = number_in(tags.private(0x7053, 0x09, _PHILIPS)) or 0.0
    if activity <= 0:
        tags.refuse(
            "counts need Philips' private (7053,1000) or (7053,1009), often lost when patients'"
            " names are removed, beside",
            "Units",
            "CNTS without them",
            "units",
        )
    factor, rule = _from_activity(tags, kind)
    return activity * factor, f"CNTS: Philips activity factor (7053,xx09), then {rule}"


def _from_activity(tags: Tags, kind: Kind) -> tuple[float, str]:
    decay = tags.text("DecayCorrection", key="decay").upper()
    if decay not in ("START", "ADMIN"):
        rule = "activity must be corrected to START or ADMIN,"
        tags.refuse(rule, "DecayCorrection", decay, "decay")
    dose, left = _dose(tags), 1.0
    if decay == "START":
        half_life = _half_life(tags)
        left = 2 ** (-delay_s(tags, half_life) / half_life)
    else:
        # The voxels are what they would have been at the injection: nothing to decay.
        tags.derived["delay_s"] = 0.0
    tags.derived |= {"decay_factor": left, "dose_at_reference_bq": dose * left}
    return _measure(tags, _wanted(tags, kind)) / (dose * left), f"BQML, corrected to {decay}"


def _dose(tags: Tags) -> float:
    """Return the injected dose in Bq; from 1 MBq to 20 GBq pass: less is in kBq, MBq or mCi."""
    assumed = tags.taken("dose_bq")
    found = tags.drug_number(_DOSE)
    if assumed is None and not found:
        tags.refuse("the injected dose is needed,", _DOSE, found, "dose_bq")
    unit = str(tags.taken("dose_unit") or "Bq") if assumed is None else "Bq"
    dose = float(assumed) if assumed is not None else (found or 0.0) * _DOSE_UNITS[unit]
    if not 1e6 <= dose <= 2e10:
        key = "dose_unit" if dose > 0 and assumed is None else "dose_bq"
        tags.refuse("the dose must be from 1e6 to 2e10 Bq,", _DOSE, f"{dose:g} Bq", key)
    tags.derived["dose_bq"] = dose
    return dose


def _half_life(tags: Tags) -> float:
    """Return the half-life in s: of a known nuclide, and of the one that the header names."""
    assumed = tags.taken("half_life_s")
    found = tags.drug_number(_HALF_LIFE)
    if assumed is not None:
        return float(assumed)
    name = _named_nuclide(tags)
    if not found and name:
        tags.warn(f"no half-life (0018,1075): {HALF_LIVES[name]:g} s of {name} is used")
        found = HALF_LIVES[name]
    nuclide = nuclide_of(found) if found else None
    if not found or nuclide is None:
        minutes = nuclide_of(found * 60) if found else None
        hint = f" (in minutes: {minutes})" if minutes else ""
        shown = f"{found:g} s{hint}" if found is not None else ""
        tags.refuse("the half-life must be a PET nuclide's,", _HALF_LIFE, shown, "half_life_s")
    if name and abs(found / HALF_LIVES[name] - 1) > TOLERANCE:
        text = f"{found:g} s ({nuclide}), but {name} is named"
        tags.refuse("half-life and nuclide must agree,", _HALF_LIFE, text, "half_life_s")
    tags.derived |= {"nuclide": name or nuclide, "half_life_s": found}
    return found


def _named_nuclide(tags: Tags) -> str | None:
    texts = []
    for keyword in ("RadionuclideCodeSequence", "RadiopharmaceuticalCodeSequence"):
        items = tags.drug.get(keyword) or []
        texts += [str(item.get("CodeMeaning", "")) for item in items]
    texts.append(str(tags.drug.get("Radiopharmaceutical") or ""))
    return next((name for text in texts if (name := nuclide_in(text))), None)


def _wanted(tags: Tags, kind: Kind) -> Measure:
    if kind != "lbm":
        return kind
    return "lbm_james" if tags.taken("lbm_formula") == "james" else "lbm_janmahasatian"


def _ratio_to_weight(tags: Tags, kind: Kind) -> float:
    return 1.0 if kind == "bw" else _measure(tags, _wanted(tags, kind)) / _measure(tags, "bw")


def _measure(tags: Tags, measure: Measure) -> float:
    """Return grams or cm^2 of this patient."""
    weight = _body_number(tags, "PatientWeight", "weight", _WEIGHT_UNITS, (1, 400))
    size, sex = 0.0, ""
    if measure != "bw":
        size = _body_number(tags, "PatientSize", "size", _SIZE_UNITS, (0.3, 2.5))
    if measure.startswith("lbm"):
        sex = tags.text("PatientSex", key="sex").upper()
        if sex not in ("M", "F"):
            tags.refuse("lean body mass needs M or F,", "PatientSex", sex, "sex")
    found = body_measure(measure, weight, size, sex)
    if found <= 0:
        rule = "the lean body mass must be positive; weight and size do not fit,"
        tags.refuse(rule, "PatientSize", f"{weight:g} kg at {size:g} m", "size_m")
    tags.derived[measure] = found
    return found


def _body_number(
    tags: Tags, keyword: str, name: str, units: dict[str, float], bounds: tuple[float, float]
) -> float:
    """Return a weight in kg or a height in m; a value in another unit is told by its bounds."""
    base = next(iter(units))
    key = f"{name}_{base}"
    value = tags.number(keyword, key=key)
    given = key in tags.assume
    unit = base if given else str(tags.taken(f"{name}_unit") or base)
    number = (value or 0.0) * units[unit]
    if not bounds[0] < number < bounds[1]:
        slip = number >= bounds[1] and not given
        tags.refuse(
            f"the {name} must be between {bounds[0]} and {bounds[1]} {base},",
            keyword,
            f"{number:g} {base}" if value is not None else "",
            f"{name}_unit" if slip else key,
        )
    return number
