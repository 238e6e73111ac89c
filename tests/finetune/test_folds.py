"""Each patient is tested once, by a segmenter that never saw them; the folds are an ensemble."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.core.errors import DataError, SettingsError
from hilum.core.files import read_json
from hilum.core.settings import validate
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.folds import cross_validate
from hilum.finetune.planned import planned
from hilum.finetune.settings import FinetuneSettings
from hilum.segmenter.ensemble import Ensemble, load_predictor


def settings(store: CaseStore, **changes: Any) -> FinetuneSettings:
    values: dict[str, Any] = {
        "store": str(store.path),
        "encoder": {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]},
        "patch": (8, 12, 16),
        "trainer": {
            "steps": 1,
            "batch_size": 1,
            "validate_every": 1,
            "precision": "32",
            "tracking": {"mode": "disabled"},
        },
        "inference": {"overlap": 0, "window": (16, 24, 32)},
        "conditions": ["ct+pet", "ct"],
        "pictures": 0,
    }
    return validate(FinetuneSettings, values | changes)


@pytest.mark.slow
def test_folds_test_every_patient_once_and_make_an_ensemble(
    store: CaseStore, tmp_path: Path
) -> None:
    said: list[str] = []
    out = cross_validate(settings(store), tmp_path / "cv", 3, say=said.append)
    splits = [read_json(out / f"fold_{fold}" / "split.json") for fold in range(3)]
    tested = [case for split in splits for case in split["test"]]
    assert sorted(tested) == sorted(store.ids)
    assert not any(set(split["train"]) & set(split["test"]) for split in splits)
    metrics = read_json(out / "test" / "metrics.json")
    for split, fold in zip(splits, range(3), strict=True):
        own = read_json(out / f"fold_{fold}" / "test" / "metrics.json")
        for case in split["test"]:
            assert repr(metrics["ct"][case]) == repr(own["ct"][case]), "NaN equals no NaN"
    dice = np.mean([row["metrics"]["dice"] for row in metrics["ct"].values()])
    cohort = read_json(out / "test" / "cohort.json")
    assert cohort["ct"]["dice"]["value"] == pytest.approx(dice)
    assert cohort["ct"]["dice"]["n"] == 6
    assert any(f"{dice:.4f} over 6 cases of all folds" in line for line in said)
    ensemble = load_predictor(out)
    assert isinstance(ensemble, Ensemble)
    assert len(ensemble.members) == 3
    before = (out / "fold_1" / "segmenter" / "model.safetensors").stat().st_mtime_ns
    cross_validate(settings(store), out, 3, say=said.append)
    assert (out / "fold_1" / "segmenter" / "model.safetensors").stat().st_mtime_ns == before


def test_what_cannot_work_is_said_before_the_first_fold(store: CaseStore, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"folds decide which patients test, found split\.test"):
        cross_validate(settings(store, split={"test": 0.3}), tmp_path / "cv", 3)
    with pytest.raises(SettingsError, match=r"--folds sets split\.fold for each fold, found"):
        cross_validate(settings(store, split={"fold": 2}), tmp_path / "cv", 3)
    with pytest.raises(SettingsError, match=r"--folds sets split\.folds for each fold, found"):
        cross_validate(settings(store, split={"folds": 4}), tmp_path / "cv", 3)
    with pytest.raises(DataError, match="7 folds need as many labelled patients"):
        cross_validate(settings(store), tmp_path / "cv", 7)
    with pytest.raises(DataError, match="5 training and 0 validation patients need labels"):
        cross_validate(settings(store, split={"labels": 5}), tmp_path / "cv", 3)
    assert not (tmp_path / "cv").exists()


def test_a_dry_run_shows_every_fold_and_checks_it(store: CaseStore) -> None:
    lines = planned(settings(store), folds=3)
    who = [line for line in lines if line.startswith("fold ")]
    assert [line.split(",")[0] for line in who] == [f"fold {n} of 3" for n in (1, 2, 3)]
    assert all("patients: " in line for line in who)
    assert sum(line.startswith("network: ") for line in lines) == 1
    with pytest.raises(SettingsError, match="folds decide which patients test"):
        planned(settings(store, split={"test": 0.5}), folds=3)
