"""The person behind a phantom: sex, fat, contrast and how avid each organ is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Patient:
    """What differs between two people, apart from shape.

    Attributes:
        female: Sex.
        fat_mm: Thickness of the fat under the skin, atlas mm.
        contrast: HU that venous contrast adds to blood; 0 for a plain CT.
        blood, liver, heart, brain, kidney, bladder, bowel, marrow, muscle: SUV.
        gas: Fraction of the bowel that holds gas.
    """

    female: bool
    fat_mm: float
    contrast: float
    blood: float
    liver: float
    heart: float
    brain: float
    kidney: float
    bladder: float
    bowel: float
    marrow: float
    muscle: float
    gas: float


def draw_patient(rng: np.random.Generator) -> Patient:
    """Draw a person."""

    def spread(middle: float, sigma: float) -> float:
        return float(middle * np.exp(np.clip(rng.normal(0, sigma), -2, 2)))

    return Patient(
        female=bool(rng.random() < 0.5),
        fat_mm=float(np.clip(spread(13, 0.35), 6, 24)),
        contrast=float(rng.uniform(70, 130)) if rng.random() < 0.6 else 0.0,
        blood=spread(1.6, 0.15),
        liver=spread(2.2, 0.15),
        heart=spread(3.2, 0.6),
        brain=spread(8.5, 0.2),
        kidney=spread(3.0, 0.2),
        bladder=spread(18.0, 0.4),
        bowel=spread(1.2, 0.25),
        marrow=spread(1.2, 0.2),
        muscle=spread(0.65, 0.12),
        gas=float(rng.uniform(0.2, 0.6)),
    )
