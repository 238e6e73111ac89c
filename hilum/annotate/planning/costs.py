"""What labelling a patient will cost: nodes and slices, as a segmenter expects or others had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hilum.core.case import IGNORE
from hilum.core.connected_components import components
from hilum.datasets.store.case_store import CaseStore, StoredCase
from hilum.segmenter.inference.predict_case import entropy_of, predict_case
from hilum.segmenter.operating.apply import mask_of
from hilum.segmenter.predictor import Predictor

LEAST = 0.1
"""Probability from which on a voxel counts for doubt in a class."""


@dataclass(frozen=True)
class Cost:
    """What labelling a patient takes.

    Attributes:
        nodes: Expected nodes; NaN if nothing tells.
        slices: Expected axial slices that hold one; NaN if nothing tells.
        source: What tells.
    """

    nodes: float
    slices: float
    source: str


@dataclass(frozen=True)
class Expected:
    """What a segmenter says of a case.

    Attributes:
        nodes: Components of its mask.
        slices: Axial slices with mask.
        doubt: Of each class, the mean entropy (0 to 1) of the voxels that may be of it; 0 if none.
    """

    nodes: int
    slices: int
    doubt: np.ndarray


def expect(model: Predictor, case: StoredCase) -> Expected:
    """Predict a case, and return what labelling it will be like."""
    probability = predict_case(model, case)
    regions = model.config.overlapping
    mask = mask_of(probability, case, model.config.operating_point, regions=regions)
    each = [mask > 0] if regions else [mask == value for value in range(1, model.classes)]
    nodes = sum(components(one)[1] for one in each)
    entropy = entropy_of(probability, bool(regions))
    near = [entropy[one >= LEAST] for one in probability[1:]]
    doubt = np.array([float(own.mean()) if own.size else 0.0 for own in near])
    return Expected(nodes, int((mask > 0).any((1, 2)).sum()), doubt)


def usual_cost(store: CaseStore, cases: Sequence[str]) -> Cost:
    """Return the mean over labelled cases, all of a patient's at once; NaN if there are none."""
    nodes: dict[str, int] = {}
    slices: dict[str, int] = {}
    for name in cases:
        patient = store.rows[name]["patient"]
        label = np.asarray(store[name].label)
        marked = ((label > 0) & (label != IGNORE)).any((1, 2))
        nodes[patient] = nodes.get(patient, 0) + len(store[name].nodes)
        slices[patient] = slices.get(patient, 0) + int(marked.sum())
    if not nodes:
        return Cost(float("nan"), float("nan"), "not known: there is no label to go by")
    source = f"mean of {len(nodes)} labelled patients"
    return Cost(float(np.mean(list(nodes.values()))), float(np.mean(list(slices.values()))), source)
