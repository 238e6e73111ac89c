"""FROC: sensitivity against false positives per patient, from scores of predicted nodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

OPERATING_POINTS = (0.5, 1.0, 2.0, 4.0)
"""False positives per patient at which the literature on nodes reports sensitivity."""


@dataclass(frozen=True)
class Candidate:
    """A predicted node.

    Attributes:
        score: Its probability; higher is surer.
        lesion: The reference lesion that it matches, any name unique in the cohort; `None` if none.
    """

    score: float
    lesion: str | None


@dataclass(frozen=True)
class Froc:
    """A curve, from the strictest threshold to the most lenient.

    Attributes:
        thresholds: Scores; a candidate with at least this score counts.
        false_positives: Per patient.
        sensitivity: Fraction of all lesions; NaN where there are none.
        lesions: How many there are.
    """

    thresholds: np.ndarray
    false_positives: np.ndarray
    sensitivity: np.ndarray
    lesions: int

    def at(self, false_positives: float) -> float:
        """Return the highest sensitivity with at most so many false positives per patient.

        NaN without lesions: nothing could be found.
        """
        if not self.lesions:
            return math.nan
        allowed = self.false_positives <= false_positives
        return float(self.sensitivity[allowed].max()) if allowed.any() else 0.0

    def mean(self, points: Sequence[float] = OPERATING_POINTS) -> float:
        """Return the mean sensitivity at the operating points."""
        return float(np.mean([self.at(point) for point in points]))


def froc(candidates: Sequence[Candidate], lesions: int, patients: int) -> Froc:
    """Return the FROC curve of a cohort.

    Candidates with equal scores enter together. A lesion is found once, however many candidates
    match it; such further candidates are no false positives (as in LUNA16). Without lesions the
    sensitivity is NaN.

    Args:
        candidates: Of all patients.
        lesions: Reference lesions of all patients.
        patients: Patients, those without candidates included.
    """
    ordered = sorted(candidates, key=lambda candidate: -candidate.score)
    found: set[str] = set()
    wrong = 0
    rows: list[tuple[float, float, float]] = []
    for number, candidate in enumerate(ordered):
        if candidate.lesion is None:
            wrong += 1
        else:
            found.add(candidate.lesion)
        last = number + 1 == len(ordered)
        if last or ordered[number + 1].score != candidate.score:
            share = len(found) / lesions if lesions else np.nan
            rows.append((candidate.score, wrong / patients, share))
    table = np.array(rows, float).reshape(-1, 3)
    return Froc(table[:, 0], table[:, 1], table[:, 2], lesions)
