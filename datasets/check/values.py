"""Are the voxels of a scan what its modality says: HU, SUV, or at least an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from hilum.core.modality import modality

from .report import Problem, Severity

Finding = tuple[Severity, str, str, str]
BODY_SUV = 20.0
"""No body has a median SUV like that; counts per second have."""


def value_problems(case: str, name: str, array: np.ndarray) -> list[Problem]:
    """Return what is wrong with the values of one volume.

    Args:
        case: Name of the case.
        name: Modality.
        array: Physical values `[D, H, W]`.
    """
    low, high = float(array.min()), float(array.max())
    if low == high:
        remedy = "the file is empty: export the scan again"
        return [Problem(case, "block", f"{name} must not be constant", f"{low:g}", remedy)]
    rule = modality(name)
    find = _RULES[rule.unit]
    findings = list(find(name, array, low, high))
    inside = rule.plausible[0] <= low and high <= rule.plausible[1]
    if not inside and not any(severity == "block" for severity, *_ in findings):
        bounds = f"{rule.plausible[0]:g} and {rule.plausible[1]:g}"
        findings.append(
            (
                "block",
                f"{name} must be in {rule.unit}, between {bounds}",
                _range(low, high),
                "export the scan again",
            )
        )
    return [Problem(case, *finding) for finding in findings]


def _hounsfield(name: str, array: np.ndarray, low: float, high: float) -> Iterator[Finding]:
    rule, found = f"{name} must be in HU", _range(low, high)
    if high - low < 60 or (low >= 0 and high <= 1000):
        yield "block", rule, found, "this looks normalised: export the scan without windowing"
    elif low >= 0:
        yield "block", rule, found, "this looks like HU + 1024: apply the rescale intercept"
    elif low > -200:
        remedy = "air is missing (-1000 HU): is it windowed, or cropped inside the body?"
        yield "warn", rule, found, remedy
    elif high < 100:
        yield "warn", f"{name} should show bone or contrast", found, "is it a CT of a patient?"


def _suv(name: str, array: np.ndarray, low: float, high: float) -> Iterator[Finding]:
    rule, limit = f"{name} must be in SUV", modality(name).plausible[1]
    middle = body_median(array, high)
    found = f"{_range(low, high)}, median of the body {middle:.3g}"
    convert = "convert it to SUV (dose, decay, weight) before importing"
    if high > limit or middle > BODY_SUV:
        yield "block", rule, found, f"this looks like Bq/ml: {convert}"
    elif middle > BODY_SUV / 2:
        yield "warn", rule, found, f"this looks like kBq/ml: {convert}"
    elif high <= 1:
        yield "warn", rule, found, "this looks scaled to 0..1: export the scan without scaling"
    if -5 <= low < -0.1:
        remedy = "a spline rang: resample linearly, or leave that to hilum"
        yield "warn", f"{name} should not be negative", f"{low:.3g}", remedy


def _arbitrary(name: str, array: np.ndarray, low: float, high: float) -> Iterator[Finding]:
    share = float((_some(array) < 0).mean())
    if share > 0.01:
        remedy = "hilum divides by the 99th percentile, so give the scan as the scanner wrote it"
        rule = f"{name} should not be negative (a z-score?)"
        yield "warn", rule, f"{share:.0%} of the voxels", remedy


def _diffusion(name: str, array: np.ndarray, low: float, high: float) -> Iterator[Finding]:
    median = body_median(array, high)
    if not 300 <= median <= 3500:
        remedy = "write the map in um2/s: 1e-3 mm2/s are 1000"
        yield "warn", f"{name} of a body should be about 1000 um2/s", f"{median:.4g}", remedy


_RULES: dict[str, Callable[[str, np.ndarray, float, float], Iterator[Finding]]] = {
    "HU": _hounsfield,
    "SUV": _suv,
    "um2/s": _diffusion,
    "a.u.": _arbitrary,
}


def body_median(array: np.ndarray, high: float) -> float:
    """Return the median of the voxels above a tenth of the 99th percentile; air stays out."""
    some = _some(array)
    body = some[some > 0.1 * np.percentile(some, 99)]
    return float(np.median(body)) if body.size else high


def _some(array: np.ndarray) -> np.ndarray:
    """Return a million voxels or fewer, evenly spread: a median needs no more."""
    step = max(1, round((array.size / 1e6) ** (1 / 3)))
    return array[::step, ::step, ::step]


def _range(low: float, high: float) -> str:
    return f"{low:.4g} to {high:.4g}"
