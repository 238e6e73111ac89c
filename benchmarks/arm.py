"""What the arms of a comparison with other tools share: network, patients, budget, evaluation."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hilum.core.case import Case
from hilum.core.files import read_json
from hilum.core.geometry import IntTriple
from hilum.datasets.io.masks import masks_in, read_mask
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import read_manifest, write_manifest
from hilum.segmenter.assessment.evaluate import evaluate

METRICS = ("dice", "hd95_mm", "nsd_2mm", "lesion_sensitivity", "lesion_precision")


@dataclass(frozen=True)
class Plan:
    """What is the same in every arm.

    Attributes:
        features: Channels of each stage.
        patch: Sides of a patch in voxels.
        batch: Patches of a step.
        voxels: How often nnU-Net draws a voxel of the nodes before it plans: as often as it does.
    """

    features: tuple[int, ...] = (16, 32, 64, 128)
    patch: IntTriple = (32, 32, 32)
    batch: int = 3
    voxels: float = 10e7


@dataclass(frozen=True)
class Budget:
    """How long an arm trains.

    Attributes:
        minutes: Of training, from the first step on.
        clock: Whose seconds count: `time.monotonic` those of the wall, `time.process_time` those
            of the processor, over all threads.
    """

    minutes: float
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True)
class Setup:
    """One comparison.

    Attributes:
        manifest: Of the whole cohort.
        store: The same cohort, prepared.
        nnunet: Folder of nnU-Net's raw, preprocessed and trained.
        budget: Of every arm.
        test: Share of the patients that test, where the manifest names none.
        validation: Labelled patients that do not train.
        plan: The network.
    """

    manifest: Path
    store: Path
    nnunet: Path
    budget: Budget
    test: float
    validation: int = 2
    plan: Plan = field(default_factory=Plan)


def train(step: Callable[[float], object], budget: Budget) -> dict[str, Any]:
    """Take steps until the budget is spent; each is told the share of it that is used.

    Returns:
        `steps`, and the `processor_minutes` and `wall_minutes` of them.
    """
    began, processor, wall = budget.clock(), time.process_time(), time.monotonic()
    steps = 0
    while (share := (budget.clock() - began) / (60 * budget.minutes)) < 1:
        step(share)
        steps += 1
    return {
        "steps": steps,
        "processor_minutes": (time.process_time() - processor) / 60,
        "wall_minutes": (time.monotonic() - wall) / 60,
    }


def cases_of(manifest: Path, split: dict[str, Any]) -> list[Case]:
    """Return the labelled and the test patients, each marked as such."""
    parts = dict.fromkeys((*split["train"], *split["validation"]), "train")
    parts |= dict.fromkeys(split["test"], "test")
    return [replace(c, split=parts[c.id]) for c in read_manifest(manifest) if c.id in parts]


def test_manifest(folder: Path, cases: Sequence[Case]) -> Path:
    """Write the manifest of the patients that test."""
    return write_manifest(folder / "test.csv", [case for case in cases if case.split == "test"])


def evaluated(folder: Path, masks: str = "masks", evaluation: str = "evaluation") -> dict[str, Any]:
    """Evaluate masks, unless that is done; return every patient's metrics and the cohort's."""
    place = folder / evaluation
    if not (place / "cases.csv").exists():
        open_corner(folder / masks)
        evaluate(folder / masks, folder / "test.csv", place)
    with (place / "cases.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["class"] == "1"]
    found = {row["patient"]: {m: float(row[m]) for m in METRICS if row.get(m)} for row in rows}
    known = {p: {m: v for m, v in own.items() if not math.isnan(v)} for p, own in found.items()}
    return {"cases": known, "cohort": read_json(place / "cohort.json")}


def open_corner(folder: Path) -> None:
    """Clear the first voxel of every mask.

    A network that has learned next to nothing marks most of a scan, corners included. That is
    refused as a mask that somebody has inverted; with the one voxel it counts for what it is.
    """
    for file in masks_in(folder).values():
        mask = read_mask(file)
        if mask.array[0, 0, 0]:
            mask.array[0, 0, 0] = 0
            write_volume(file, mask.array, mask.grid)


def values(rows: Sequence[dict[str, Any]], metric: str) -> dict[str, dict[int, float]]:
    """Return a metric of the runs of an arm, by patient and seed."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        for patient, own in row["cases"].items():
            if metric in own:
                found.setdefault(patient, {})[row["seed"]] = own[metric]
    return found
