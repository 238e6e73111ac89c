"""The layout of our archive: one folder, a CT and perhaps a PET of each patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.datasets.importers.importing import Format
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.source import Imported, Source

ENDINGS = {"ct": "_CT.nii.gz", "pet": "_PT.nii.gz"}


def read_flat(source: Source) -> Imported:
    """Read `<patient>_CT.nii.gz`, beside it perhaps `<patient>_PT.nii.gz`, in HU and SUV."""
    if not source.root.is_dir():
        raise DataError("the folder must exist", file=source.root)
    found = Imported()
    for ct in sorted(source.root.glob(f"*{ENDINGS['ct']}")):
        patient = ct.name.removesuffix(ENDINGS["ct"])
        files = {name: ct.with_name(patient + ending) for name, ending in ENDINGS.items()}
        there = {name: file for name, file in files.items() if file.is_file()}
        found.cases.append(Case(patient, patient, there))
    return found


def write_example(folder: Path) -> None:
    """Write two small patients, one without a PET."""
    grid = Grid.from_spacing((4, 6, 5), (5.0, 4.0, 4.0))
    for patient, names in (("P01", ("ct", "pet")), ("P02", ("ct",))):
        for name in names:
            values = np.full(grid.shape, 40 if name == "ct" else 1, np.float32)
            write_volume(folder / f"{patient}{ENDINGS[name]}", values, grid)


FLAT = Format(
    "our archive: <patient>_CT.nii.gz and _PT.nii.gz", read=read_flat, example=write_example
)
