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

COHORT: dict[str, Any] = {"patients": 32, "size": "demo", "test_fraction": 0.375, "seed": 0}
PREPARE: dict[str, Any] = {"spacing": (4.0, 4.0, 4.0)}

ENCODER: dict[str, Any] = {
    "name": "resenc",
    "features": [16, 32, 64, 128],
    "blocks": [1, 1, 1, 1],
}
# Two minutes of a laptop per network leave no time to learn what turned and blurred patients look
# like; what stays is cheap and keeps the body the right way up.
AUGMENTATION: dict[str, Any] = {
    "mirror": (0, 0, 0.5),
    "rotation": {"p": 0},
    "scale": {"p": 0},
    "misalign_p": 0,
    "blur": {"p": 0},
    "low_resolution": {"p": 0},
}
STUDY: dict[str, Any] = {
    "name": "hilum-demo",
    "question": "With eight labelled patients: which fusion of CT and PET finds malignant nodes, "
    "and does pretraining without labels help?",
    "factors": {
        "pretext": {
            "scratch": {},
            "masked autoencoder": {"pretrain": {"task": {"name": "masked_autoencoder"}}},
        },
        "fusion": {
            "CT only": {"fusion": {"name": "single", "modality": "ct"}},
            "PET only": {"fusion": {"name": "single", "modality": "pet"}},
            "early": {"fusion": {"name": "early"}},
            "late": {"fusion": {"name": "late"}},
            "cross_attention": {"fusion": {"name": "cross_attention"}},
        },
        "seed": [0, 1],
    },
    "exclude": [
        {"pretext": "masked autoencoder", "fusion": "CT only"},
        {"pretext": "masked autoencoder", "fusion": "PET only"},
    ],
    "reference": {"fusion": "early", "pretext": "scratch"},
    "pretrain": {
        "encoder": ENCODER,
        "patch": (32, 32, 32),
        "augmentation": {**AUGMENTATION, "dropout": 0.2},
        "trainer": {
            "steps": 100,
            "batch_size": 4,
            "learning_rate": 2e-3,
            "validate_every": 50,
        },
    },
    "finetune": {
        "encoder": ENCODER,
        "patch": (24, 24, 24),
        "foreground": 0.5,
        "split": {"labels": 8, "validation": 2},
        "augmentation": {**AUGMENTATION, "dropout": 0.1},
        "transfer": {"encoder_rate": 0.5},
        "inference": {"window": (72, 48, 72), "overlap": 0.25},
        "trainer": {
            "steps": 130,
            "batch_size": 6,
            "learning_rate": 3e-3,
            "validate_every": 50,
        },
        "pictures": 0,
    },
    "conditions": ["ct+pet", "ct", "pet"],
}


def demo(out: Path, *, workers: int = 2, say: Callable[[str], None] = print) -> Path:
    """Make phantoms, pretrain, fine-tune every fusion, compare, and write the report.

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
    for line in check(manifest, out / "check").table():
        say(line)
    store = prepare(manifest, out / "store", validate(PrepareSettings, PREPARE), workers)
    say(f"case store: {len(store.ids)} cases, {time.monotonic() - began:.0f} s so far")
    file = out / "demo.yaml"
    write_yaml(file, validate(StudySettings, {**STUDY, "store": str(out / "store")}))
    page = run(file, out / "study", workers=workers, say=say)
    say(f"done in {(time.monotonic() - began) / 60:.1f} min")
    return page
