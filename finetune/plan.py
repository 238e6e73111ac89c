"""Plan a fine-tuning run from what the cohort is and what the machine holds; say why, each time."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from pydantic import Field

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple, Triple
from hilum.core.gpu import smallest_gpu
from hilum.core.settings import Settings, validate
from hilum.datasets.store.case_store import CaseStore
from hilum.encoders.resenc import SIZES
from hilum.encoders.strides import cumulative
from hilum.fusion.base import FusionStrategy
from hilum.fusion.cost import seconds
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

from .fingerprint import Fingerprint, fingerprint
from .fitting import BATCHES, GIB, Make, largest, needed, smaller_patch, whole_patch

LEAST_MAP = 4
"""Voxels that the coarsest map keeps along each axis, as nnU-Net's planner demands."""
LEAST_SIDE = 24
"""Voxels below which a side does not shrink to save time."""
RECOMPUTE = "encoder.checkpoint_activations"


class PlanSettings(Settings):
    """What the plan may assume; each entry overrides what would be found out."""

    memory: float | None = Field(
        None, gt=0, description="GiB to use; empty: 80 % of the GPU's, or half of the machine's"
    )
    minutes: float | None = Field(
        None, gt=0, description="length of the run on this machine; empty: 1000 steps"
    )
    least_steps: int = Field(
        500, ge=1, description="steps to reach in `minutes`: batch and patch (to 24 voxels) shrink"
    )
    fusion: dict[str, Any] = Field({"name": "early"}, description="name and parameters")
    size: str | None = Field(None, description="tiny, small, base; empty: by GPU memory, else tiny")
    patch: IntTriple | None = Field(
        None, description="sides in voxels; empty: the median case, as memory and minutes allow"
    )
    batch_size: int | None = Field(None, ge=1, description="patches; empty: 2 to 8, by memory")
    checkpoint_activations: bool | None = Field(
        None,
        description="compute stages of the encoder again in the backward pass, for memory; empty: "
        "if the patch that is asked for does not fit without, or the batch would shrink the patch",
    )
    modalities: tuple[str, ...] | None = Field(None, description="empty: all of the store")


@dataclass(frozen=True)
class Decision:
    """One entry of the plan.

    Attributes:
        key: Setting of `hilum finetune`.
        value: What it should be.
        why: The reason, with the numbers behind it.
    """

    key: str
    value: Any
    why: str


def plan(store: CaseStore, settings: PlanSettings | None = None) -> list[Decision]:
    """Return the decisions for a store on this machine.

    Rules, after nnU-Net's planner (Isensee et al., Nature Methods 2021, and its ResEnc presets of
    2024): an axis more than twice as coarse as the finest is not strided until the others have
    caught up; the patch starts at the median case and its longest side in mm shrinks until a
    training step fits; the batch grows with what is left. Memory is counted on tensors without
    content (`fusion.cost`), so nothing is tried out and nothing runs out of memory. Where what is
    asked for does not fit, stages of the encoder are computed again in the backward pass.

    Raises:
        SettingsError: If not even the smallest patch fits.
    """
    settings = settings or PlanSettings.model_validate({})
    found = fingerprint(store)
    names = settings.modalities or store.modalities
    budget, whose = _budget(settings)
    decisions = [Decision("modalities", list(names), "all of the store")]
    if settings.modalities:
        decisions = [Decision("modalities", list(names), "as asked")]
    size, why = _size(settings, budget)
    steps = strides_for(found.spacing, found.shape, len(SIZES[size][0]))
    encoder = {
        "name": "resenc",
        "features": list(SIZES[size][0][: len(steps)]),
        "blocks": list(SIZES[size][1][: len(steps)]),
        "strides": [list(step) for step in steps],
    }
    decisions.append(Decision("encoder", encoder, f"size {size}: {why}"))
    decisions.append(_why_strides(found, steps))
    decisions.append(Decision("fusion", dict(settings.fusion), _why_fusion(settings)))
    make, patch, batch, again = _fitted(settings, found, steps, encoder, budget, names)
    decisions += again
    patch, batch, length = _in_time(settings, found, steps, make, patch, batch)
    used = needed(make(patch), patch, batch) / GIB
    decisions.append(
        Decision("patch", list(patch), f"{_why_patch(settings, found)}; {used:.1f} GiB, of {whose}")
    )
    decisions.append(Decision("trainer.batch_size", batch, _why_batch(settings, batch)))
    return [*decisions, length]


def settings_of(decisions: Sequence[Decision]) -> dict[str, Any]:
    """Return the plan as settings of `hilum finetune`."""
    nested: dict[str, Any] = {}
    for decision in decisions:
        *groups, last = decision.key.split(".")
        if last == "_":
            continue
        here = nested
        for group in groups:
            here = here.setdefault(group, {})
        value = decision.value
        here[last] = dict(value) if isinstance(value, dict) else value  # more may join it
    return nested


def strides_for(spacing: Triple, shape: IntTriple, stages: int) -> list[IntTriple]:
    """Return the stride of each stage.

    An axis halves while its map keeps `LEAST_MAP` voxels of the median case and its voxels are not
    more than twice as coarse as the finest.

    Examples:
        >>> strides_for((4.0, 1.0, 1.0), (40, 160, 160), 4)
        [(1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2)]
    """
    steps: list[IntTriple] = [(1, 1, 1)]
    voxel, left = list(spacing), list(shape)
    for _ in range(stages - 1):
        finest = min((v for v, n in zip(voxel, left, strict=True) if n >= 2 * LEAST_MAP), default=0)
        step = [
            2 if left[axis] >= 2 * LEAST_MAP and voxel[axis] <= 2 * finest else 1
            for axis in range(3)
        ]
        if step == [1, 1, 1]:
            break
        voxel = [v * s for v, s in zip(voxel, step, strict=True)]
        left = [n // s for n, s in zip(left, step, strict=True)]
        steps.append((step[0], step[1], step[2]))
    return steps


def _budget(settings: PlanSettings) -> tuple[float, str]:
    if settings.memory is not None:
        return settings.memory * GIB, f"the {settings.memory:g} GiB asked for"
    if torch.cuda.is_available():
        return 0.8 * smallest_gpu(), f"80 % of the GPU's {smallest_gpu() / GIB:.0f} GiB"
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 0.5 * total, f"half of the machine's {total / GIB:.0f} GiB"


def _size(settings: PlanSettings, budget: float) -> tuple[str, str]:
    if settings.size is not None:
        if settings.size not in SIZES:
            raise SettingsError(f"size must be one of {', '.join(SIZES)}", found=settings.size)
        return settings.size, "as asked"
    if not torch.cuda.is_available():
        return "tiny", "there is no GPU"
    if budget < 14 * GIB:
        return "small", f"{budget / GIB:.0f} GiB of memory are too few for base"
    return "base", f"{budget / GIB:.0f} GiB of memory"


def _fitted(
    settings: PlanSettings,
    found: Fingerprint,
    steps: Sequence[IntTriple],
    encoder: Mapping[str, Any],
    budget: float,
    names: Sequence[str],
) -> tuple[Make, IntTriple, int, list[Decision]]:
    """Return networks by their patch, patch and batch, and what to say of stages that run twice."""
    asked = settings.checkpoint_activations

    def fit(again: bool) -> tuple[Make, tuple[IntTriple, int] | None]:
        own = {**encoder, "checkpoint_activations": again}
        make = _maker(names, own, settings.fusion, found.spacing)
        return make, largest(found, steps, make, budget, settings.patch, settings.batch_size)

    make, fits = fit(bool(asked))
    if asked is not None and fits is not None:
        return make, *fits, [Decision(RECOMPUTE, asked, "as asked")]
    # A batch that is asked for shall not cost context; without one, smaller patches are cheaper.
    whole = fits is not None and (
        settings.batch_size is None or fits[0] == whole_patch(found, steps)
    )
    if asked is None and not whole and (fits is None or settings.patch is None):
        other, more = fit(True)
        if more is not None and (fits is None or prod(more[0]) > prod(fits[0])):
            why = "what is asked for" if fits is None else f"more than a patch of {fits[0]}"
            slower = "a step takes up to a third longer"
            return other, *more, [Decision(RECOMPUTE, True, f"{why} fits no other way; {slower}")]
    if fits is not None:
        return make, *fits, []
    if settings.patch is None:
        raise SettingsError(
            "a training step must fit into the memory",
            found=f"{budget / GIB:.1f} GiB, too few for the smallest patch",
            remedy="choose a smaller size or batch_size, or raise memory",
        )
    least = needed(make(settings.patch), settings.patch, settings.batch_size or BATCHES[0])
    raise SettingsError(
        "the patch must fit into the memory",
        found=f"{least / GIB:.1f} GiB for {settings.patch}",
        remedy="lower patch or batch_size, or raise memory",
    )


def _maker(
    names: Sequence[str], encoder: Mapping[str, Any], fusion: Mapping[str, Any], spacing: Triple
) -> Make:
    made: dict[IntTriple, FusionStrategy] = {}

    def make(patch: IntTriple) -> FusionStrategy:
        if patch not in made:
            made.clear()
            config = {"modalities": tuple(names), "encoder": dict(encoder), "fusion": dict(fusion)}
            config |= {"patch": patch, "spacing": spacing}
            made[patch] = Segmenter(validate(SegmenterConfig, config)).strategy
        return made[patch]

    return make


def _why_strides(found: Fingerprint, steps: Sequence[IntTriple]) -> Decision:
    ratio = max(found.spacing) / min(found.spacing)
    shape = "at most twice apart" if ratio <= 2 else f"{ratio:.1f} times apart"
    return Decision("encoder._", None, f"{len(steps)} stages: voxel sides are {shape}")


def _why_fusion(settings: PlanSettings) -> str:
    return "as asked" if "fusion" in settings.model_fields_set else "the reference"


def _why_patch(settings: PlanSettings, found: Fingerprint) -> str:
    return f"{'as asked; ' if settings.patch is not None else ''}median case {found.shape}"


def _why_batch(settings: PlanSettings, batch: int) -> str:
    if settings.batch_size is not None:
        return "as asked"
    return "the most that helps" if batch == BATCHES[1] else "what memory and time leave"


def _in_time(
    settings: PlanSettings,
    found: Fingerprint,
    steps: Sequence[IntTriple],
    make: Make,
    patch: IntTriple,
    batch: int,
) -> tuple[IntTriple, int, Decision]:
    """Shrink batch and then patch until the minutes hold enough steps; return the length, too.

    Time is measured once, at the whole patch, and taken as proportional to the voxels.
    """
    if settings.minutes is None:
        return patch, batch, Decision("trainer.steps", 1000, "the default; give minutes for a time")
    voxel = seconds(make(patch), patch, repeats=1).step / prod(patch)
    last = cumulative(steps)[-1]

    def count(sides: IntTriple, patches: int) -> int:
        return int((settings.minutes or 0) * 60 / (voxel * prod(sides) * patches))

    if settings.batch_size is None:
        while batch > BATCHES[0] and count(patch, batch) < settings.least_steps:
            batch -= 1
    while settings.patch is None and count(patch, batch) < settings.least_steps:
        smaller = smaller_patch(patch, last, found.spacing)
        if smaller is None or min(smaller) < LEAST_SIDE:
            break
        patch = smaller
    length = max(count(patch, batch), 1)
    each = voxel * prod(patch) * batch
    return (
        patch,
        batch,
        Decision(
            "trainer.steps", length, f"{settings.minutes:g} min at about {each:.2f} s a step here"
        ),
    )
