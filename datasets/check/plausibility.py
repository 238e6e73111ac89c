"""Is the PET of a case on the scale of the other cases: a tenth or ten times gives it away.

Uptake of the body, of the liver and noise are compared as logarithms, since a wrong dose, unit or
slope multiplies. The cohort's own spread sets the limit (median absolute deviation, by 1.4826 as
the standard deviation of a normal distribution); in a small cohort, absolute limits do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import log10
from typing import Any

import numpy as np

from hilum.core.modality import modality

from .report import Problem

LEAST_CASES = 4
"""Fewer cases have no spread of their own."""
LEAST_Z = 3.5
"""Robust z beyond which a value is no member of the cohort (Iglewicz and Hoaglin 1993)."""
LEAST_SPREAD = 0.05
"""Standard deviation of log10 that any cohort has: 12 % between patients."""
_SCALE = "look at its units, dose, weight and rescale slope, and import it again"


@dataclass(frozen=True)
class Quantity:
    """What is compared between the PET of a cohort.

    Attributes:
        key: Of the facts of a modality.
        name: In messages.
        unit: In messages, after a space; a ratio has none.
        ratio: To the cohort's median, below which patients, tracers and scanners may differ.
        usual: Range of any patient and tracer, for cohorts that are too small to compare; `None`
            says that there is no such range.
        rule: What should hold, after the modality.
        remedy: Where to look.
    """

    key: str
    name: str
    unit: str
    ratio: float
    usual: tuple[float, float] | None
    rule: str
    remedy: str


QUANTITIES = (
    Quantity(
        "body_median",
        "a median of the body",
        " SUV",
        3.0,
        # From a limb to a chest full of activity.
        (0.1, 8.0),
        "should be on the scale of the others",
        _SCALE,
    ),
    # 20 % between patients with FDG (Wahl et al., PERCIST, J Nucl Med 2009): a tighter limit.
    Quantity(
        "liver_median",
        "a median of the liver",
        " SUV",
        2.0,
        (0.3, 20.0),
        "should have a liver on the scale of the others",
        _SCALE,
    ),
    # Two voxel sizes of one scanner differ by up to 3.0 in 24 patients (docs/datasets.md).
    Quantity(
        "noise",
        "noise in soft tissue, as a fraction of its median,",
        "",
        4.0,
        None,
        "should have the noise of the others",
        "is it another reconstruction, not corrected for attenuation, smoothed, or stored in too "
        "few steps?",
    ),
)


def scale_problems(facts: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    """Yield PET whose scale or noise is not that of the others, or of any patient.

    Args:
        facts: Of each case; those of `QUANTITIES` count, of each SUV modality.
    """
    for quantity in QUANTITIES:
        values: dict[str, dict[str, float]] = defaultdict(dict)
        for case, about in facts.items():
            for name, fact in about.get("modalities", {}).items():
                if modality(name).unit == "SUV" and fact.get(quantity.key, 0) > 0:
                    values[name][case] = fact[quantity.key]
        for name, own in values.items():
            if len(own) < LEAST_CASES:
                yield from _absolute(quantity, name, own)
            else:
                yield from _against_the_cohort(quantity, name, own)


def _absolute(quantity: Quantity, name: str, values: dict[str, float]) -> Iterator[Problem]:
    if quantity.usual is None:
        return
    low, high = quantity.usual
    for case, value in values.items():
        if not low <= value <= high:
            found = (
                f"{quantity.name} of {value:.3g}{quantity.unit}; a cohort of {_cases(len(values))} "
                "is too small to compare with, so the limits are absolute"
            )
            yield Problem(case, "warn", _usual_rule(quantity, name), found, quantity.remedy)


def _against_the_cohort(
    quantity: Quantity, name: str, values: dict[str, float]
) -> Iterator[Problem]:
    logs = np.array([log10(value) for value in values.values()])
    middle = float(np.median(logs))
    spread = max(1.4826 * float(np.median(np.abs(logs - middle))), LEAST_SPREAD)
    usual = 10**middle
    if quantity.usual is not None and not quantity.usual[0] <= usual <= quantity.usual[1]:
        found = f"{quantity.name} of {usual:.3g}{quantity.unit} over {_cases(len(values))}"
        yield Problem("", "warn", _usual_rule(quantity, name), found, quantity.remedy)
    for (case, value), one in zip(values.items(), logs.tolist(), strict=True):
        z = (one - middle) / spread
        if abs(z) > LEAST_Z and abs(one - middle) > log10(quantity.ratio):
            found = (
                f"{quantity.name} of {value:.3g}{quantity.unit}, {value / usual:.2g} times the "
                f"{usual:.3g} of the cohort (robust z {z:+.1f})"
            )
            yield Problem(case, "warn", f"{name} {quantity.rule}", found, quantity.remedy)


def _usual_rule(quantity: Quantity, name: str) -> str:
    assert quantity.usual is not None
    low, high = quantity.usual
    return f"{name} should have {quantity.name} between {low:g} and {high:g}"


def _cases(count: int) -> str:
    return f"{count} case{'' if count == 1 else 's'}"
