"""Body measures that an SUV is divided by: weight, lean body mass, body surface area."""

from __future__ import annotations

from typing import Literal

Measure = Literal["bw", "lbm_janmahasatian", "lbm_james", "lbm_james128", "bsa"]


def body_measure(measure: Measure, weight_kg: float, size_m: float = 0.0, sex: str = "") -> float:
    """Return the numerator of an SUV: grams, or cm^2 for the body surface area.

    Args:
        measure: Weight; lean body mass after Janmahasatian et al. 2005 or James 1976 (for men with
            120 as in the first print, or 128); body surface area after DuBois 1916.
        weight_kg: Weight.
        size_m: Height; needed for all but the weight.
        sex: `M` or `F`; needed for the lean body mass.

    Examples:
        >>> round(body_measure("lbm_janmahasatian", 70, 1.75, "M"))
        55857
        >>> round(body_measure("bsa", 70, 1.75))
        18481
    """
    if measure == "bw":
        return weight_kg * 1000
    size_cm, male = size_m * 100, sex == "M"
    if measure == "bsa":
        return 0.007184 * weight_kg**0.425 * size_cm**0.725 * 1e4
    if measure == "lbm_janmahasatian":
        bmi = weight_kg / size_m**2
        base, slope = (6680, 216) if male else (8780, 244)
        return 9270 * weight_kg / (base + slope * bmi) * 1000
    bent = {"lbm_james": 120, "lbm_james128": 128}[measure] if male else 148
    straight = 1.10 if male else 1.07
    return (straight * weight_kg - bent * (weight_kg / size_cm) ** 2) * 1000
