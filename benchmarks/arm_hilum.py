"""hilum's arm of a comparison with other tools: fine-tune for the budget, predict, evaluate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from arm import Budget, Setup, cases_of, evaluated, test_manifest

from hilum.core.files import read_json
from hilum.core.settings import load
from hilum.finetune.run import finetune
from hilum.finetune.settings import FinetuneSettings
from hilum.segmenter.prediction.cohort import predict
from hilum.training import time_limit


def settings_of(setup: Setup, labels: int, seed: int) -> dict[str, Any]:
    """Return the settings of a run; the seed draws the labelled patients, too."""
    plan = setup.plan
    features = list(plan.features)
    return {
        "encoder": {"name": "resenc", "features": features, "blocks": [1] * len(features)},
        "fusion": {"name": "early"},
        "patch": plan.patch,
        "foreground": 0.5,
        "transfer": {"encoder_rate": 1.0},
        "evaluate_test": False,
        "pictures": 0,
        "store": str(setup.store),
        "seed": seed,
        "split": {
            "test": setup.test,
            "labels": labels,
            "draw": seed,
            "validation": setup.validation,
        },
        "trainer": {
            "steps": 100_000,
            "batch_size": plan.batch,
            "learning_rate": 1e-3,
            "minutes": setup.budget.minutes,
            "validate_every": 100_000,
            "save_every": 100_000,
        },
    }


def hilum(setup: Setup, folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Fine-tune for the minutes, predict the test patients, evaluate."""
    run = folder / "run"
    with counting(setup.budget):
        finetune(load(FinetuneSettings, [], [], **settings), run)
    test_manifest(folder, cases_of(setup.manifest, read_json(run / "split.json")))
    if not (folder / "evaluation" / "cases.csv").exists():
        predict(run / "segmenter", folder / "test.csv", folder / "masks", pictures=False)
    return _took(run) | evaluated(folder)


def most_probable(folder: Path) -> dict[str, Any]:
    """Return the same run without what validation patients chose: the most probable class."""
    if not (folder / "evaluation_raw" / "cases.csv").exists():
        given, out = folder / "test.csv", folder / "masks_raw"
        predict(folder / "run" / "segmenter", given, out, pictures=False, raw=True)
    return _took(folder / "run") | evaluated(folder, "masks_raw", "evaluation_raw")


@contextmanager
def counting(budget: Budget) -> Iterator[None]:
    """Let a run's budget count the seconds of another clock than the wall's."""
    with patch.object(time_limit, "time", SimpleNamespace(monotonic=budget.clock)):
        yield


def _took(run: Path) -> dict[str, Any]:
    done = read_json(run / "summary.json")
    return {
        "steps": done["steps"],
        "processor_minutes": done["cpu_seconds"] / 60,
        "wall_minutes": done["seconds"] / 60,
    }
