"""A tiny cohort whose nodes three raters drew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from hilum.core.case import Case
from hilum.core.geometry import Grid
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import write_manifest

from .tiny_cohort import SIDES, SPACING, draw


def three_raters(folder: Path) -> Path:
    """Write two cases of three raters, of whom two draw badly, and one of one."""
    grid = Grid.from_spacing(SIDES, SPACING)
    cases = []
    for number, name in enumerate(("a", "b", "alone")):
        ct, pet, node = draw(number, grid)
        files = {
            key: write_volume(folder / name / f"{key}.nii.gz", array, grid)
            for key, array in (("ct", ct), ("pet", pet))
        }
        masks: dict[str, np.ndarray] = {"anna": node}
        for rater, grown in (("ben", 1), ("carl", 2)):
            # Large, and careless: half of what they mark elsewhere is missing.
            large = np.asarray(ndimage.binary_dilation(node, iterations=grown), bool)
            kept = np.random.default_rng(grown).random(node.shape) < 0.5
            masks[rater] = (large & kept) | np.asarray(ndimage.binary_erosion(node), bool)
        drawn = {
            rater: write_volume(folder / name / f"{rater}.nii.gz", mask.astype(np.uint8), grid)
            for rater, mask in masks.items()
        }
        if name == "alone":
            cases.append(Case(name, f"p{number}", files, drawn["anna"]))
        else:
            cases.append(Case(name, f"p{number}", files, None, raters=drawn))
    return write_manifest(folder / "manifest.csv", cases)
