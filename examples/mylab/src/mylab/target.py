"""NumPy arrays by name, for those who have no torch."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from hilum.core.weights import read_weights
from hilum.exchange.networks_out.exporting import Target


def export_arrays(folder: Path, part: Path, tolerance: float) -> dict[str, Any]:
    """Write `weights.npz` and the configuration."""
    weights = {name: value.numpy() for name, value in read_weights(folder).items()}
    np.savez(part / "weights.npz", allow_pickle=False, **weights)
    shutil.copyfile(folder / "config.json", part / "config.json")
    return {"arrays": len(weights)}


ARRAYS = Target("NumPy arrays, weights.npz", ("encoder", "segmenter"), write=export_arrays)
