"""Agreement of the node status of patients: positive or negative, predicted and reference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from scipy import stats

Numbers = dict[str, float]


def node_status(
    cases: Mapping[str, Mapping[str, float]], patients: Mapping[str, str]
) -> dict[str, Any]:
    """Return how the predicted node status of patients agrees with the reference.

    A patient is positive if one of the cases is. One who is not, and of whom a case has an unknown
    status, counts as `unknown` and nowhere else.

    Source:
        Wilson, J Am Stat Assoc 1927 (intervals); Cohen, Educ Psychol Meas 1960 (kappa).

    Args:
        cases: Numbers of each case, with `node_positive` and `reference_node_positive`.
        patients: Patient of each case.

    Returns:
        `tp`, `fp`, `fn`, `tn`, `unknown`: patients. `sensitivity`, `specificity`, `ppv`, `npv`,
        `accuracy`: value, 95 % interval and number of patients. `kappa`: NaN where prediction and
        reference put all patients into one and the same group.
    """
    counts: dict[str, int] = dict.fromkeys(("tp", "fp", "fn", "tn", "unknown"), 0)
    for patient in dict.fromkeys(patients[name] for name in cases):
        own = [numbers for name, numbers in cases.items() if patients[name] == patient]
        predicted, reference = (
            _any([numbers[key] for numbers in own])
            for key in ("node_positive", "reference_node_positive")
        )
        if math.isnan(reference) or math.isnan(predicted):
            counts["unknown"] += 1
        else:
            right = predicted == reference
            counts[("t" if right else "f") + ("p" if predicted else "n")] += 1
    tp, fp, fn, tn = (counts[key] for key in ("tp", "fp", "fn", "tn"))
    return {
        **{key: float(count) for key, count in counts.items()},
        "sensitivity": proportion(tp, tp + fn),
        "specificity": proportion(tn, tn + fp),
        "ppv": proportion(tp, tp + fp),
        "npv": proportion(tn, tn + fn),
        "accuracy": proportion(tp + tn, tp + fp + fn + tn),
        "kappa": _kappa(tp, fp, fn, tn),
    }


def proportion(hits: int, total: int, level: float = 0.95) -> Numbers:
    """Return a proportion with Wilson's score interval; NaN of nothing."""
    if not total:
        return {"value": math.nan, "ci_low": math.nan, "ci_high": math.nan, "n": 0.0}
    z, share = float(stats.norm.ppf(0.5 + level / 2)), hits / total
    middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    root = math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    reach = z * root / (1 + z**2 / total)
    low, high = max(middle - reach, 0.0), min(middle + reach, 1.0)
    return {"value": share, "ci_low": low, "ci_high": high, "n": float(total)}


def _any(values: list[float]) -> float:
    """Return 1 if a value is, else NaN if one is unknown, else 0."""
    if 1.0 in values:
        return 1.0
    return math.nan if any(value != value for value in values) else 0.0


def _kappa(tp: int, fp: int, fn: int, tn: int) -> float:
    n = tp + fp + fn + tn
    if not n:
        return math.nan
    expected = ((tp + fp) * (tp + fn) + (fn + tn) * (fp + tn)) / n**2
    return ((tp + tn) / n - expected) / (1 - expected) if expected < 1 else math.nan
