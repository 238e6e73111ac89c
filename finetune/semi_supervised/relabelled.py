"""A case with another label next to links to its scans, as a folder of a case store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hilum.core.files import atomic_folder, write_json
from hilum.datasets.store.case_store import StoredCase
from hilum.datasets.store.compressed import write_array
from hilum.datasets.store.foreground import nodes_of

from .links import link

NO_SPOTS = (np.zeros((0, 3), np.int16), np.zeros(0, np.int32))


def write_relabelled(
    case: StoredCase,
    label: np.ndarray,
    folder: Path,
    about: Mapping[str, Any],
    *,
    mark: str,
    spots: tuple[np.ndarray, np.ndarray] = NO_SPOTS,
) -> None:
    """Write the case whole or not at all.

    Args:
        case: Whose scans are linked.
        label: `[D, H, W]`, a class per voxel, `IGNORE` where nobody knows.
        folder: Of the new case.
        about: What its `case.json` says otherwise.
        mark: Name of an empty file that says what the label was made by.
        spots: Uptake off the label, as of `hot_spots`.
    """
    nodes, points = nodes_of(label, case.grid, case.id)
    storage = case.about.get("storage", "npy")
    with atomic_folder(folder) as part:
        for name in ("images", "regions", "anatomy"):
            if (case.folder / f"{name}.{storage}").is_file():
                link(case.folder / f"{name}.{storage}", part / f"{name}.{storage}")
        write_array(part / f"label.{storage}", label)
        np.savez(
            part / "foreground.npz",
            points=points.points,
            node=points.node,
            label=points.label,
            hot=spots[0],
            spot=spots[1],
        )
        # What raters said is of the label of before.
        kept = {key: one for key, one in case.about.items() if key not in ("raters", "shares")}
        write_json(part / "case.json", {**kept, "nodes": nodes, "pseudo": True, **about})
        (part / mark).touch()
