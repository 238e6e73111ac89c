"""Whether a pool has places for lymph nodes, before a run begins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from hilum.core.errors import DataError
from hilum.core.geometry import IntTriple
from hilum.core.modality import modality
from hilum.datasets.store.case_store import CaseStore, StoredCase

from .node_places import plausible

LOOKED_AT = 8
"""Cases, evenly over the pool; the first place that is found is enough."""

HEIGHTS = (0.5, 0.25, 0.75)
"""Where in the body to look, as a share of its depth."""

SIDE = 64
"""Longest side of the box that is looked at, voxels."""


def check_places(store: CaseStore, cases: Sequence[str], names: Sequence[str]) -> None:
    """Refuse a pool without a place where a node could be pasted.

    Args:
        store: Holds the cases.
        cases: The pool.
        names: Modalities that are used.

    Raises:
        DataError: If none of up to `LOOKED_AT` cases has a plausible voxel.
    """
    few = [cases[i] for i in np.unique(np.linspace(0, len(cases) - 1, LOOKED_AT).astype(int))]
    without_body = 0
    for name in few:
        case = store[name]
        if any(_has_place(store, case, names, height) for height in HEIGHTS):
            return
        without_body += not (np.asarray(case.regions) & 1).any()
    found = (
        f"no body in {without_body} of {len(few)} cases"
        if without_body
        else f"none in {', '.join(few)}: lung, bone or one tissue alone"
    )
    raise DataError(
        "the pool must have places for nodes: fat beside soft tissue on a CT, else the depth of a "
        "body",
        file=store.path,
        found=found,
        remedy="look at the cases with `hilum preview`; prepare whole scans, in HU; or choose "
        "another task, as in task.name=masked_autoencoder",
    )


def _has_place(store: CaseStore, case: StoredCase, names: Sequence[str], height: float) -> bool:
    low, high = case.body_box
    d, h, w = (min(SIDE, side) for side in case.grid.shape)
    sides: IntTriple = (d, h, w)
    middle = low + (high - low) * (height, 0.5, 0.5)
    start = np.clip(middle.astype(int) - np.array(sides) // 2, 0, np.array(case.grid.shape) - sides)
    patch = case.read(start.tolist(), sides, names)
    rules = [modality(name) for name in names]
    # As a network sees them: cut off by the window.
    values = [
        rule.decode(rule.encode(torch.from_numpy(patch.image[c].astype(np.float32))[None]))
        for c, rule in enumerate(rules)
    ]
    have = torch.tensor([name in case.modalities for name in names])[None]
    body = torch.from_numpy((patch.regions & 1).astype(bool))[None]
    return bool((plausible(values, rules, have, body, store.spacing) > 0).any())
