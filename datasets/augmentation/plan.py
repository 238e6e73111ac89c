"""Draw what happens to one sample; all numbers first, so that only what is needed is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hilum.core.geometry import Triple
from hilum.core.modality import Modality, modality
from hilum.core.seeds import numpy_generator

from .settings import AugmentationSettings, Drawn
from .spatial import Pose

Strengths = dict[str, float]
"""Operations of one channel, by name of the setting."""

COUNTS = ("suv_scale", "resolution", "count_noise", "low_resolution")
WINDOW = ("blur", "noise", "brightness", "contrast", "gamma", "low_resolution")
FACTORS = {"scale", "suv_scale"}
"""Drawn on a log scale, so that 0.8 and 1.25 are equally likely."""


@dataclass(frozen=True)
class Plan:
    """What was drawn for one sample; by default nothing happens.

    Attributes:
        pose: Rotation, scale and mirror of the whole patient.
        shifts: Displacement of single channels in mm.
        tilts: Turn of the same channels in degrees.
        hidden: Channels to drop.
        changes: Operations of each channel.
    """

    pose: Pose = field(default_factory=Pose)
    shifts: dict[int, Triple] = field(default_factory=dict)
    tilts: dict[int, Triple] = field(default_factory=dict)
    hidden: frozenset[int] = frozenset()
    changes: dict[int, Strengths] = field(default_factory=dict)


def draw(
    settings: AugmentationSettings, modalities: Sequence[str], seed: int, have: Sequence[bool]
) -> Plan:
    """Draw the plan of a sample.

    Each modality draws from a generator of its own and every operation takes its numbers whether it
    happens or not. So a CT changes in the same way whether or not PET is an input, and switching
    one operation off leaves the others as they were: runs that differ in one setting stay paired.

    Args:
        settings: What may happen.
        modalities: Name of each channel.
        seed: Seed of the sample.
        have: Whether the case has each modality.
    """
    generators = {
        c: numpy_generator(seed, "augment", modalities[c]) for c, has in enumerate(have) if has
    }
    changes, shifts, tilts, fate = {}, {}, {}, {}
    for channel, generator in generators.items():
        name = modalities[channel]
        fate[channel] = float(generator.random())
        shift = _shift(generator, settings.misalign.get(name, 0.0))
        # A lone modality is what the label was drawn on.
        fires = generator.random() < settings.misalign_p
        if fires and shift is not None and len(generators) > 1:
            shifts[channel] = shift
        drawn = _strengths(settings, modality(name), generator)
        if drawn:
            changes[channel] = drawn
        d, h, w = ((2 * generator.random(3) - 1) * settings.misalign_turn).tolist()
        if channel in shifts and settings.misalign_turn:
            tilts[channel] = (d, h, w)
    return Plan(
        _pose(settings, numpy_generator(seed, "augment")),
        shifts,
        tilts,
        _hidden(fate, settings.dropout),
        changes,
    )


def _pose(settings: AugmentationSettings, generator: np.random.Generator) -> Pose:
    numbers = generator.random((3, 4))
    angles = (0.0, 0.0, 0.0)
    if numbers[0, 0] < settings.rotation.p:
        one, two, three = (_between(settings.rotation, float(u)) for u in numbers[0, 1:])
        angles = (one, two, three)
    zoom = _strength("scale", settings.scale, numbers[1])
    d, h, w = (bool(u < p) for u, p in zip(numbers[2], settings.mirror, strict=False))
    return Pose(angles, 1.0 if zoom is None else zoom, (d, h, w))


def _shift(generator: np.random.Generator, longest_mm: float) -> Triple | None:
    """Return a shift in a random direction, of a length up to `longest_mm`."""
    direction, length = generator.normal(size=3), generator.random() * longest_mm
    d, h, w = (direction * length / np.linalg.norm(direction)).tolist()
    return (d, h, w) if longest_mm > 0 else None


def _hidden(fate: dict[int, float], p: float) -> frozenset[int]:
    """Return the channels to drop; the one that came closest to staying stays."""
    hidden = {channel for channel, number in fate.items() if number < p}
    if hidden == set(fate) and fate:
        hidden.remove(max(fate, key=lambda channel: fate[channel]))
    return frozenset(hidden)


def _strengths(
    settings: AugmentationSettings, rule: Modality, generator: np.random.Generator
) -> Strengths:
    operations = COUNTS if rule.unit == "SUV" else WINDOW
    found = {}
    for name, numbers in zip(operations, generator.random((len(operations), 3)), strict=True):
        strength = _strength(name, getattr(settings, name), numbers)
        if strength is not None:
            found[name] = strength
        if name == "gamma" and strength is not None:
            found["inverted"] = float(numbers[2] < settings.inverted)
    return found


def _strength(name: str, drawn: Drawn, numbers: np.ndarray) -> float | None:
    """Return the strength of an operation, or `None` if it does not happen."""
    if numbers[0] >= drawn.p:
        return None
    if name in FACTORS:
        low, high = math.log(drawn.low), math.log(drawn.high)
        return math.exp(low + (high - low) * float(numbers[1]))
    return _between(drawn, float(numbers[1]))


def _between(drawn: Drawn, share: float) -> float:
    return drawn.low + (drawn.high - drawn.low) * share
