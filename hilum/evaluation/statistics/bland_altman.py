"""Agreement of a measure such as MTV or TLG between prediction and reference, over patients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Agreement:
    """How well a predicted measure agrees with its reference, in the measure's own unit.

    Attributes:
        n: Pairs in which both are known.
        bias: Mean of predicted minus reference.
        low: Lower limit of agreement, bias - 1.96 SD of the differences.
        high: Upper limit of agreement.
        ccc: Lin's concordance correlation coefficient; NaN if neither measure varies.
        icc: Intraclass correlation for absolute agreement of single measurements, ICC(A,1), also
            called ICC(2,1); NaN with one pair, or if nothing varies.
        median_relative_error: Median of |difference| / reference where the reference is above 0.
    """

    n: int
    bias: float
    low: float
    high: float
    ccc: float
    icc: float
    median_relative_error: float


def agreement(predicted: Sequence[float], reference: Sequence[float]) -> Agreement:
    """Return bias, limits of agreement, concordance and relative error of pairs.

    Pairs with an undefined value (NaN) are left out; limits need two pairs, else they are NaN.

    Source:
        Bland and Altman, Lancet 1986 (SD over n - 1); Lin, Biometrics 1989 (variances over n);
        McGraw and Wong, Psychol Methods 1996 (two-way random effects, ICC(A,1)).
    """
    p, r = np.asarray(predicted, float), np.asarray(reference, float)
    good = np.isfinite(p) & np.isfinite(r)
    p, r = p[good], r[good]
    if not p.size:
        return Agreement(0, *(math.nan,) * 6)
    difference = p - r
    bias = float(difference.mean())
    half = 1.96 * float(difference.std(ddof=1)) if p.size > 1 else math.nan
    spread = float(p.var() + r.var() + bias**2)
    ccc = 2 * float(((p - p.mean()) * (r - r.mean())).mean()) / spread if spread else math.nan
    there = r > 0
    relative = np.abs(difference[there]) / r[there]
    median = float(np.median(relative)) if there.any() else math.nan
    return Agreement(int(p.size), bias, bias - half, bias + half, ccc, _icc(p, r), median)


def _icc(p: np.ndarray, r: np.ndarray) -> float:
    """Return the ICC of two measurements from the mean squares of patients, sides and the rest."""
    n = p.size
    if n < 2:
        return math.nan
    patients = 2 * float(((p + r) / 2).var(ddof=1))
    sides = n * float((p.mean() - r.mean()) ** 2) / 2
    rest = float((p - r).var(ddof=1)) / 2
    whole = patients + rest + 2 / n * (sides - rest)
    return (patients - rest) / whole if whole else math.nan
