"""One phantom with its truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.core.geometry import Grid, Triple

from .canvas import Floats
from .imaging import Misregistration
from .patient import Patient
from .second.acquisition import Acquisition

Rows = list[dict[str, object]]


@dataclass(frozen=True, eq=False)
class PhantomCase:
    """One phantom with its truth.

    Attributes:
        id: Name in the cohort.
        ct: HU, float32 `[D, H, W]` on `grid`, whole numbers.
        pet: SUV, float32 on `pet_grid`.
        label: uint8 on `grid`: 1 malignant node, 0 all else.
        instances: int16 on `grid`: number of each node, benign ones too.
        grid, pet_grid: Grids of CT and PET.
        nodes, distractors: Tables, see `phantom_table`.
        misregistration: Where the PET shows what lies elsewhere on the CT, exactly.
        patient: The person's numbers.
        acquisition: How the patient lay in the scanner; nothing in edition 1.
    """

    id: str
    ct: Floats
    pet: Floats
    label: NDArray[np.uint8]
    instances: NDArray[np.int16]
    grid: Grid
    pet_grid: Grid
    nodes: Rows
    distractors: Rows
    misregistration: Misregistration
    patient: Patient
    acquisition: Acquisition | None = None

    @property
    def shift_mm(self) -> Triple:
        """Rigid part of the misregistration, RAS mm; `misregistration.at` adds the breathing."""
        return self.misregistration.shift_mm
