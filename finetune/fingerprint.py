"""What a cohort is like, from its headers alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hilum.core.geometry import IntTriple, Triple
from hilum.datasets.store.case_store import CaseStore


@dataclass(frozen=True)
class Fingerprint:
    """What a cohort is like.

    Attributes:
        spacing: mm per voxel of the store.
        shape: Median sides of the cases, in voxels.
        smallest: Fifth percentile of the nodes' equivalent diameter, in mm; NaN without nodes.
        cases: How many.
        nodes: How many.
    """

    spacing: Triple
    shape: IntTriple
    smallest: float
    cases: int
    nodes: int


def fingerprint(store: CaseStore) -> Fingerprint:
    """Look at every case's header; no voxel is read."""
    shapes = np.array([store.rows[name]["shape"] for name in store.ids])
    volumes = [node["volume_ml"] for name in store.ids for node in store[name].nodes]
    diameters = [2 * (3 * ml * 1000 / (4 * np.pi)) ** (1 / 3) for ml in volumes]
    d, h, w = np.median(shapes, 0).astype(int).tolist()
    smallest = float(np.percentile(diameters, 5)) if diameters else float("nan")
    return Fingerprint(store.spacing, (d, h, w), smallest, len(store.ids), len(volumes))


def notes(found: Fingerprint) -> list[str]:
    """Return what the user should think about before training."""
    lines = []
    if found.smallest == found.smallest and found.smallest < 3 * max(found.spacing):
        finer = round(found.smallest / 3, 1)
        lines.append(
            f"one node in twenty is under {found.smallest:.1f} mm, less than three voxels of "
            f"{max(found.spacing):g} mm: prepare with spacing {finer:g} or less"
        )
    if not found.nodes:
        lines.append("no case has a node: patches cannot aim at nodes (foreground=0)")
    return lines
