"""Does `registration=rigid` keep well-aligned scans in place? Dice of two masks of one tumour.

Cases hold `ct`, `pet`, `label` (drawn on the CT's grid) and `label_pet` (the same tumour on the
PET's grid). The PET's mask moves along with the PET; its Dice with the CT's mask must not fall.
With `--shift`, the PET is moved first by so many mm to the right and half of that to the front,
and registration should bring it back. Columns: Dice as the scans lie, with every result of the
optimiser accepted, and as `prepare` does it.

    python benchmarks/registration.py CASES [--shift 15]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from hilum.datasets.io.nifti import Volume, read_label, read_volume
from hilum.datasets.io.resampling import resample
from hilum.datasets.prepare.alignment import shifted
from hilum.datasets.prepare.case import PrepareSettings
from hilum.datasets.prepare.registration import placed, register, register_all


def dice(label: Volume, other: Volume) -> float:
    """Return the Dice of the foregrounds, the second by nearest voxel on the first's grid."""
    one = label.array > 0
    two = resample((other.array > 0).astype(np.uint8), other.grid, label.grid, order=0) > 0
    return float(2 * np.sum(one & two) / (one.sum() + two.sum()))


def main() -> None:
    """Print a row per case and the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--shift", type=float, default=0.0)
    given = parser.parse_args()
    settings = PrepareSettings.model_validate({})
    rows, began = [], time.perf_counter()
    for folder in sorted(given.cases.iterdir()):
        ct, label = read_volume(folder / "ct.nii.gz"), read_label(folder / "label.nii.gz")
        away = (given.shift, given.shift / 2, 0.0)
        pet, mask = (
            shifted(volume, away)
            for volume in (
                read_volume(folder / "pet.nii.gz"),
                read_label(folder / "label_pet.nii.gz"),
            )
        )
        always = register(ct, pet, tissue=True).matrix
        _, moved, notes = register_all({"ct": ct, "pet": pet}, "ct", settings.limits, folder.name)
        matrix = np.array(moved.get("pet", np.eye(4)))
        row = [
            dice(label, mask),
            dice(label, placed(mask, always)),
            dice(label, placed(mask, matrix)),
        ]
        rows.append(row)
        print(f"{folder.name} {row[0]:.3f} {row[1]:.3f} {row[2]:.3f}  {notes[0].text}", flush=True)
    means = np.mean(rows, 0)
    kept = sum(row[2] == row[0] for row in rows)
    worse = sum(row[2] < row[0] for row in rows)
    seconds = (time.perf_counter() - began) / len(rows)
    print(f"mean {means[0]:.3f} {means[1]:.3f} {means[2]:.3f}; kept {kept}, worse {worse}")
    print(f"{seconds:.1f} s per case")


if __name__ == "__main__":
    main()
