"""The whole flow on a phantom cohort: what `hilum demo` runs, and a template for a first study."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hilum.core.outputs import check_output, mark
from hilum.core.settings import validate, write_yaml
from hilum.datasets.check.run import check
from hilum.datasets.phantoms.cohort import PhantomSettings, write_cohort
from hilum.datasets.prepare.run import PrepareSettings, prepare

from .commands import run
from .settings import StudySettings

COHORT: dict[str, Any] = {
    "patients": 24,
    "size": "demo",
    "edition": 2,
    "test_fraction": 0.375,
    "seed": 0,
}
PREPARE: dict[str, Any] = {"spacing": (4.0, 4.0, 4.0)}

ENCODER: dict[str, Any] = {
    "name": "resenc",
    "features": [16, 32, 64, 128],
    "blocks": [1, 1, 1, 1],
}
# Half a minute of a laptop per network leaves no time to learn what turned and blurred patients
# look like; what stays is cheap and keeps the body the right way up.
AUGMENTATION: dict[str, Any] = {
    "mirror": (0, 0, 0.5),
    "rotation": {"p": 0},
    "scale": {"p": 0},
    "misalign_p": 0,
    "blur": {"p": 0},
    "low_resolution": {"p": 0},
    "dropout": 0.1,
}
# Without labels only what is avid counts; no label decides that.
NO_LABEL: dict[str, Any] = {"by": "expected", "expected": {"suv_max": 4}}
STUDY: dict[str, Any] = {
    "name": "hilum-demo",
    "question": "With no, one and two labelled patients: what segments malignant nodes best, a "
    "rule on the uptake, a network from scratch, or one that learned from pasted nodes first?",
    "factors": {
        "arm": {
            "SUV above 4": {"baseline": {"limit": 4}},
            "scratch, early fusion": {"fusion": {"name": "early"}},
            "scratch, late fusion": {"fusion": {"name": "late"}},
            "synthetic nodes, early fusion": {
                "pretrain": {"task": {"name": "synthetic_nodes", "unpasted": 0.5}},
                "fusion": {"name": "early"},
                "transfer": {"parts": "whole", "rate": 0.2},
            },
        },
        "labels": {
            "n=0": {"split.labels": 0, "operating_point": NO_LABEL},
            "n=1": {"split.labels": 1},
            "n=2": {"split.labels": 2},
        },
        "seed": [0, 1],
    },
    "exclude": [
        {"arm": "SUV above 4", "labels": ["n=1", "n=2"]},
        {"arm": ["scratch, early fusion", "scratch, late fusion"], "labels": "n=0"},
        {"arm": "scratch, late fusion", "labels": "n=1"},
        {"arm": "scratch, late fusion", "seed": 1},
        {"labels": "n=0", "seed": 1},
    ],
    "reference": {"arm": "scratch, early fusion"},
    "pretrain": {
        "encoder": ENCODER,
        "patch": (32, 32, 32),
        "augmentation": AUGMENTATION,
        "trainer": {
            "steps": 200,
            "batch_size": 4,
            "learning_rate": 2e-3,
            "validate_every": 200,
        },
    },
    "finetune": {
        "encoder": ENCODER,
        "patch": (32, 32, 32),
        "foreground": 0.5,
        "augmentation": AUGMENTATION,
        "inference": {"window": (72, 48, 72), "overlap": 0.25},
        "trainer": {"steps": 90, "batch_size": 3, "learning_rate": 2e-3},
        "pictures": 0,
    },
    "conditions": ["ct+pet"],
}


def demo(out: Path, *, workers: int = 2, say: Callable[[str], None] = print) -> Path:
    """Make phantoms, pretrain, fine-tune, compare with a rule, and write the report.

    Args:
        out: Folder for everything; running again carries on.
        workers: Processes; two with one thread each use two cores best.
        say: Gets a line per step.

    Returns:
        Path of `report.html`.
    """
    began = time.monotonic()
    check_output(out, "demo", earlier="demo.yaml")
    mark(out, "demo")
    cohort = validate(PhantomSettings, COHORT)
    manifest = write_cohort(out / "cohort", cohort, workers)
    say(f"phantom cohort: {manifest}")
    for line in check(manifest, out / "check", workers=workers).table():
        say(line)
    store = prepare(manifest, out / "store", validate(PrepareSettings, PREPARE), workers)
    say(f"case store: {len(store.ids)} cases, {time.monotonic() - began:.0f} s so far")
    file = out / "demo.yaml"
    write_yaml(file, validate(StudySettings, {**STUDY, "store": str(out / "store")}))
    page = run(file, out / "study", workers=workers, say=say)
    say(f"done in {(time.monotonic() - began) / 60:.1f} min")
    return page
