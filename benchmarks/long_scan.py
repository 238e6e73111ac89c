"""Predict scans of 512 x 512 x 250 and 1000 voxels: seconds and peak memory of the whole command.

`python benchmarks/long_scan.py` writes `results/long_scan.json` in a minute. CT of 0.98 x 0.98
x 1 mm, PET of 2.5 x 2.5 x 2 mm, a tiny network of random weights at 3 mm; the mask comes back on
the grid of the CT. Peak memory is the system's, of the process, files that are mapped included.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import nibabel as nib
import numpy as np
import torch
from timing import write

from hilum.core.settings import validate
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

SLICES = (250, 1000)


def ellipse(side: int, spacing: float) -> np.ndarray:
    """Return the body in a slice, 400 x 300 mm."""
    place = (np.arange(side) - side / 2) * spacing
    return (place[:, None] / 200) ** 2 + (place[None] / 150) ** 2 < 1


def scan(folder: Path, slices: int) -> None:
    """Write CT and PET, whose body is noise, slice by slice."""
    rng = np.random.default_rng(0)
    ct = np.full((512, 512, slices), -1000, np.int16)
    body = ellipse(512, 0.976)
    for k in range(slices):
        ct[body, k] = rng.integers(20, 60, body.sum())
    nib.save(nib.Nifti1Image(ct, np.diag([0.976, 0.976, 1, 1])), folder / "ct.nii")
    pet = np.zeros((200, 200, slices // 2), np.float32)
    body = ellipse(200, 2.5)
    for k in range(slices // 2):
        pet[body, k] = rng.uniform(0.5, 2, body.sum())
    nib.save(nib.Nifti1Image(pet, np.diag([2.5, 2.5, 2, 1])), folder / "pet.nii")


def segmenter(folder: Path) -> Path:
    """Return a saved segmenter of random weights."""
    torch.manual_seed(0)
    about = {
        "modalities": ("ct", "pet"),
        "encoder": {"name": "resenc", "size": "tiny"},
        "fusion": {"name": "early"},
        "patch": (64, 64, 64),
        "spacing": (3, 3, 3),
    }
    Segmenter(validate(SegmenterConfig, about)).save(folder)
    return folder


def measure(network: Path, folder: Path) -> tuple[float, float]:
    """Return seconds and peak GiB of `hilum predict`."""
    command = [sys.executable, "-P", "-m", "hilum", "predict", str(network)]
    files = ["--ct", str(folder / "ct.nii"), "--pet", str(folder / "pet.nii")]
    began = time.perf_counter()
    child = subprocess.Popen([*command, "--out", str(folder / "out"), *files, "--no-pictures"])
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"hilum predict ended with {status}")
    return time.perf_counter() - began, usage.ru_maxrss / 2**20


def main() -> None:
    """Measure each length."""
    rows: list[dict[str, object]] = []
    for slices in SLICES:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            scan(folder, slices)
            seconds, peak = measure(segmenter(folder / "segmenter"), folder)
            size = 512 * 512 * slices * 2 / 2**30
        rows.append(
            {
                "what": f"predict 512 x 512 x {slices}",
                "seconds": round(seconds),
                "peak_gib": round(peak, 2),
                "ct_gib": round(size, 2),
            }
        )
        print(rows[-1], file=sys.stderr)
    print(write("long_scan", "python benchmarks/long_scan.py", rows))


if __name__ == "__main__":
    main()
