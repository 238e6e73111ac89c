"""Measure order-3 and order-1 resampling against nnU-Net's and scipy's: time and differences.

`python benchmarks/resampling.py` writes `results/resampling.json` in a minute.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from scipy import ndimage
from timing import compare, write

from hilum.core.geometry import Grid
from hilum.core.seeds import numpy_generator
from hilum.datasets.io.resampling import resample

torch.set_num_threads(1)
OLD, NEW = (100, 160, 160), (150, 128, 128)
SPACING = (3.0, 2.0, 2.0)


def difference(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Return the largest difference as a share of the range, everywhere and inside."""
    apart = np.abs(one - other) / np.ptp(one)
    inner = apart[16:-16, 16:-16, 16:-16]
    return {"most": float(f"{apart.max():.2g}"), "most_inside": float(f"{inner.max():.2g}")}


def main() -> None:
    """Compare on one volume whose sides change along every axis."""
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg

    draw = numpy_generator(0, "bench resampling")
    small = draw.normal(size=tuple(n // 4 for n in OLD))
    volume = ndimage.zoom(small, 4, order=1).astype(np.float32)
    spacing = tuple(n * s / m for n, s, m in zip(OLD, SPACING, NEW, strict=True))
    old = Grid.from_spacing(OLD, SPACING)
    new = old.with_spacing(spacing)  # pyright: ignore[reportArgumentType]
    factors = tuple(m / n for n, m in zip(OLD, NEW, strict=True))
    rows = []
    for order in (3, 1):
        ways = {
            "hilum": lambda _, o=order: resample(volume, old, new, order=o, antialias=False),
            "nnU-Net": lambda _, o=order: resample_data_or_seg(
                volume[None],
                NEW,
                False,
                None,
                o,
                False,  # pyright: ignore
            ),
            "scipy zoom": lambda _, o=order: ndimage.zoom(
                volume, factors, order=o, mode="nearest", grid_mode=True
            ),
        }
        row = compare(f"order {order}, {OLD} to {NEW} voxels", ways, rounds=3)
        ours = np.asarray(ways["hilum"](0))
        row["share_of_range"] = {
            "nnU-Net": difference(ours, np.asarray(ways["nnU-Net"](0))[0]),
            "scipy zoom": difference(ours, np.asarray(ways["scipy zoom"](0))),
        }
        rows.append(row)
        print(row["share_of_range"])
    print(write("resampling", "python benchmarks/resampling.py", rows))


if __name__ == "__main__":
    main()
