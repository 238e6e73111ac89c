"""How a patient of the second edition lies in the scanner: arms, contrast phase, metal, motion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from ..settings import PhantomSettings

Arms = Literal["up", "down"]
Phase = Literal["plain", "arterial", "portal"]
Metal = Literal["none", "teeth", "port", "clip", "hip"]
Name = TypeVar("Name", bound=str)

_ARMS_DOWN = 0.25
_PHASES: dict[Phase, float] = {"plain": 0.4, "arterial": 0.15, "portal": 0.45}
_METALS: dict[Metal, tuple[float, float]] = {
    "teeth": (0.4, 786),
    "port": (0.25, 606),
    "clip": (0.2, 353),
    "hip": (0.15, 34),
}
"""How often each is there, and its atlas height."""


@dataclass(frozen=True)
class Acquisition:
    """What was drawn of one examination.

    Attributes:
        arms: Next to the head or next to the body; those next to the body are cut off by the field
            of view and darken the CT between them.
        phase: Of the contrast: none, arterial, portal venous.
        artery_hu: HU that contrast adds to arteries and the right heart; the venous one is the
            patient's `contrast`.
        metal: What metal is in the body, of what the field of view can hold.
        breathing_mm: Amplitude of the breathing during the PET at the diaphragm.
        jump_mm: A jump in the middle of the PET, RAS.
    """

    arms: Arms
    phase: Phase
    artery_hu: float
    metal: Metal
    breathing_mm: float
    jump_mm: tuple[float, float, float]


def draw_acquisition(rng: np.random.Generator, settings: PhantomSettings) -> Acquisition:
    """Draw one; what the settings fix is drawn all the same, so that the rest stays as it is."""
    arms: Arms = "down" if rng.random() < _ARMS_DOWN else "up"
    phase = _choose(rng, _PHASES)
    artery = float(rng.uniform(180, 320))
    low, high = settings.heights()
    seen: dict[Metal, float] = {
        name: share for name, (share, z) in _METALS.items() if low + 10 < z < high - 10
    }
    metal: Metal = _choose(rng, seen) if seen else "none"
    has_metal = rng.random() < settings.metal
    breathing = float(rng.gamma(4, 0.25))
    jump = rng.normal(0, 1, 3) * (rng.random() < 0.2)
    phase = settings.phase or phase
    x, y, z = map(float, jump * settings.motion_mm * 0.5)
    return Acquisition(
        settings.arms or arms,
        phase,
        artery if phase == "arterial" else 0.0,
        metal if has_metal else "none",
        breathing * settings.motion_mm,
        (x, y, z),
    )


def venous_contrast(rng: np.random.Generator, phase: Phase) -> float:
    """Draw the HU that contrast adds to veins and, in proportion, to organs and nodes."""
    drawn = rng.uniform(0, 1)
    if phase == "plain":
        return 0.0
    return float(15 + 25 * drawn if phase == "arterial" else 70 + 60 * drawn)


def _choose(rng: np.random.Generator, shares: dict[Name, float]) -> Name:
    names, weights = list(shares), np.array(list(shares.values()))
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]
