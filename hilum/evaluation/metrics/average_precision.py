"""Average precision of detection: precision averaged over the sensitivity that is reached."""

from __future__ import annotations

from collections.abc import Sequence

from .froc import Candidate


def average_precision(candidates: Sequence[Candidate], lesions: int) -> float:
    """Return the area under the steps of precision over sensitivity.

    The threshold falls from the surest candidate on. Candidates with equal scores enter together.
    A lesion is found once; further candidates of it count neither as found nor as false, as in
    `froc`. Lesions that no candidate matches are never found, so that they lower the value. Without
    a lesion it is NaN.

    Source:
        Sum of (R_n - R_{n-1}) P_n, as scikit-learn's `average_precision_score` and PI-CAI have it.

    Args:
        candidates: Of all patients.
        lesions: Reference lesions of all patients.
    """
    if not lesions:
        return float("nan")
    ordered = sorted(candidates, key=lambda candidate: -candidate.score)
    found: set[str] = set()
    wrong, area, before = 0, 0.0, 0
    for number, candidate in enumerate(ordered):
        if candidate.lesion is None:
            wrong += 1
        else:
            found.add(candidate.lesion)
        last = number + 1 == len(ordered)
        if (last or ordered[number + 1].score != candidate.score) and len(found) > before:
            area += (len(found) - before) / lesions * len(found) / (len(found) + wrong)
            before = len(found)
    return area
