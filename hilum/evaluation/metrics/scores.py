"""What the probabilities of predicted nodes are worth: candidates for FROC, and calibration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from hilum.core.connected_components import components
from hilum.core.geometry import Grid
from hilum.core.types import IGNORE

from .calibration import Reliability, near_foreground, pooled, reliability
from .froc import OPERATING_POINTS, Candidate, froc
from .instances import Instances, foreground_box, values_of

LEAST = 0.1
"""Probability from which on a voxel may belong to a candidate."""


@dataclass(frozen=True)
class CaseScores:
    """What is kept of one case.

    Attributes:
        candidates: Its predicted nodes with their scores.
        lesions: How many lesions the reference has.
        voxels: Reliability of the probabilities near the foreground; `None` without a map.
        known: Whether anything of the reference is known; if not, the case counts nowhere.
    """

    candidates: tuple[Candidate, ...]
    lesions: int
    voxels: Reliability | None = None
    known: bool = True


def score_case(
    case: str,
    probability: np.ndarray,
    reference: np.ndarray,
    grid: Grid,
    least: float = LEAST,
    *,
    mask: np.ndarray | None = None,
    lesions: Instances | None = None,
) -> CaseScores:
    """Return the candidates of a probability map and how reliable it is.

    A candidate is a component (26 neighbours) of the voxels from `least` on; its score is the
    highest probability in it. It matches the lesion that it shares most voxels with; one that
    shares none is false. Voxels that are unknown in the reference count nowhere.

    Args:
        case: Name, so that lesions of different cases differ.
        probability: Of the foreground, `[D, H, W]`.
        reference: Whole numbers; 255 is unknown.
        grid: Where both lie.
        least: See above.
        mask: What was predicted, whole numbers. With several classes each voxel is of the class
            nearest to it, and components are taken within each: classes that touch are apart.
        lesions: Of the reference, if they are known: components within each class otherwise.
    """
    known = reference != IGNORE
    truth = (reference > 0) & known
    lesions = lesions or Instances.of(reference)
    inside = (probability >= least) & known
    if mask is not None and len(values_of(mask)) > 1:
        labels, count = _within_classes(inside, mask)
    else:
        labels, count = components(inside)
    peaks = ndimage.maximum(probability, labels, range(1, count + 1)) if count else []
    found = candidates_of(case, labels, [float(peak) for peak in peaks], lesions)
    near = near_foreground(probability >= 0.5, truth, grid) & known
    voxels = reliability(probability[near], truth[near])
    return CaseScores(found, lesions.count, voxels, bool(known.any()))


def candidates_of(
    case: str, labels: np.ndarray, scores: Sequence[float], lesions: Instances
) -> tuple[Candidate, ...]:
    """Return a candidate for each numbered node, matched with the lesion that it covers most of.

    Args:
        case: Name of the case.
        labels: Numbers of the nodes `[D, H, W]`, from 1 on.
        scores: Of each node, in the order of their numbers.
        lesions: Of the reference, within each class.
    """
    both = (labels > 0) & (lesions.labels > 0)
    shared = np.zeros((len(scores) + 1, lesions.count + 1), np.int64)
    np.add.at(shared, (labels[both], lesions.labels[both]), 1)
    best = shared.argmax(1)
    return tuple(
        Candidate(score, f"{case}/{best[row]}" if shared[row].any() else None)
        for row, score in enumerate(scores, 1)
    )


def summary(scores: Mapping[str, CaseScores], patients: Mapping[str, str]) -> dict[str, object]:
    """Return FROC and calibration of a cohort as plain values for JSON.

    Args:
        scores: Of each case.
        patients: Patient of each case. False positives are counted per patient of whom anything is
            known: of others nobody can say what is false.
    """
    cases = [case for case in scores.values() if case.known]
    count = len({patients[name] for name, case in scores.items() if case.known})
    candidates = [one for case in cases for one in case.candidates]
    curve = froc(candidates, sum(case.lesions for case in cases), count)
    nodes = reliability(
        np.array([one.score for one in candidates]),
        np.array([one.lesion is not None for one in candidates], bool),
    )
    found: dict[str, object] = {
        "froc": {
            "sensitivity_at": {f"{point:g}": _plain(curve.at(point)) for point in OPERATING_POINTS},
            "mean_sensitivity": _plain(curve.mean()),
            "thresholds": curve.thresholds.tolist(),
            "false_positives": curve.false_positives.tolist(),
            "sensitivity": [_plain(value) for value in curve.sensitivity],
        },
        "nodes": _as_json(nodes),
    }
    maps = [case.voxels for case in cases if case.voxels is not None]
    if maps:
        found["voxels_near_foreground"] = _as_json(pooled(maps))
    return found


def _within_classes(inside: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Return numbers of the components within the classes, each voxel of the class nearest."""
    box = foreground_box(inside | (mask > 0))
    nearest = ndimage.distance_transform_edt(
        (mask[box] == 0) | (mask[box] == IGNORE), return_distances=False, return_indices=True
    )
    classes = np.zeros(inside.shape, mask.dtype)
    classes[box] = np.where(inside[box], mask[box][tuple(nearest)], 0)  # pyright: ignore[reportArgumentType]
    found = Instances.of(classes)
    return found.labels, found.count


def _as_json(found: Reliability) -> dict[str, object]:
    return {
        "ece": _plain(found.ece),
        "brier": _plain(found.brier),
        "count": found.count.tolist(),
        "confidence": [_plain(value) for value in found.confidence],
        "frequency": [_plain(value) for value in found.frequency],
    }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
