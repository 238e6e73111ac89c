"""A run of a baseline is a run as any: split, test, done; only nothing is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.core.errors import SettingsError
from hilum.core.files import read_json
from hilum.core.settings import validate
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.folds import cross_validate
from hilum.finetune.run import finetune
from hilum.finetune.settings import FinetuneSettings
from hilum.segmenter.baseline.rule import BaselineSettings


def settings(store: CaseStore, **changes: Any) -> FinetuneSettings:
    values = {
        "store": str(store.path),
        "split": {"labels": 2, "validation": 1},
        "trainer": {"tracking": {"mode": "disabled"}},
        "baseline": {"limit": 2.5},
    }
    return validate(FinetuneSettings, values | changes)


def quiet(text: str) -> None:
    """Say nothing."""


def dice(mask: np.ndarray, label: np.ndarray) -> float:
    return 2 * float((mask & (label == 1)).sum()) / float(mask.sum() + (label == 1).sum())


def test_test_patients_are_measured_as_with_a_network(store: CaseStore, tmp_path: Path) -> None:
    lines: list[str] = []
    asked = settings(store, baseline={"limit": 4.0})
    assert finetune(asked, tmp_path / "run", say=lines.append) == tmp_path / "run"
    found = read_json(tmp_path / "run" / "test" / "metrics.json")
    assert set(found) == {"ct+pet", "pet"}, "nothing is known without PET"
    assert list(found["pet"]) == ["case_4"], "case_5 has none"
    case = store["case_4"]
    wanted = dice(np.asarray(case.images[1], np.float32) > 4, np.asarray(case.label))
    numbers = found["ct+pet"]["case_4"]["metrics"]
    assert numbers["dice"] == pytest.approx(wanted)
    assert numbers["voxel_average_precision"] > 0.9
    assert any("1 test cases without PET" in line for line in lines)
    assert not (tmp_path / "run" / "segmenter").exists()
    assert (tmp_path / "run" / "DONE").exists()
    finetune(asked, tmp_path / "run", say=lines.append)
    assert "is done" in lines[-1]


def test_training_and_validation_patients_choose(store: CaseStore, tmp_path: Path) -> None:
    asked = settings(store, baseline={"limit": "auto", "min_volume_ml": "auto"})
    lines: list[str] = []
    finetune(asked, tmp_path / "run", say=lines.append)
    about = read_json(tmp_path / "run" / "baseline.json")
    split = read_json(tmp_path / "run" / "split.json")
    assert about["patients_of_choice"] == len(split["train"]) + len(split["validation"]) == 3
    assert 1.2 < about["rule"]["limit"] < 8
    assert "3 labelled patients chose it" in lines[0]


@pytest.mark.parametrize(
    ("expected", "same"),
    [
        ({"suv_max": 6}, {"suv_max": 6, "max_volume_ml": 150}),
        (
            {"volume_ml": (0.4, 60), "at_most": 2},
            {"min_volume_ml": 0.4, "max_volume_ml": 60, "at_most": 2},
        ),
    ],
)
def test_a_point_without_labels_keeps_the_components_of_a_rule(
    store: CaseStore, tmp_path: Path, expected: dict[str, Any], same: dict[str, Any]
) -> None:
    lines: list[str] = []
    point = {"by": "expected", "expected": expected}
    finetune(settings(store, operating_point=point), tmp_path / "run", say=lines.append)
    rule = validate(BaselineSettings, {"limit": 2.5} | same)
    assert read_json(tmp_path / "run" / "baseline.json")["rule"] == rule.model_dump(mode="json")
    assert f"baseline: {rule.words()}" in lines
    point |= {"choose": False}
    finetune(settings(store, operating_point=point), tmp_path / "raw", say=lines.append)
    assert "baseline: SUV above 2.5" in lines


def test_folds_pool_every_labelled_patient(store: CaseStore, tmp_path: Path) -> None:
    cross_validate(settings(store, split={}), tmp_path / "folds", 2, say=quiet)
    found = read_json(tmp_path / "folds" / "test" / "metrics.json")
    assert sorted(found["ct+pet"]) == [f"case_{n}" for n in range(5)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities": ("ct",)}, "modality in SUV"),
        ({"init_from": "somewhere"}, "leave out init_from"),
        ({"prior_rule": {}}, "leave out prior_rule"),
        ({"robustness": {}}, "leave out robustness"),
        (
            {"operating_point": {"by": "expected"}, "baseline": {"limit": 2, "at_most": 1}},
            "set operating_point.by=labels",
        ),
        ({"operating_point": {"by": "expected", "expected": {"number": 4.7}}}, "no threshold"),
        ({"operating_point": {"by": "expected", "expected": {"total_ml": 22}}}, "no threshold"),
        ({"baseline": {"limit": 2.5, "value": 2}}, "1 to 1"),
        ({"conditions": ("ct",)}, "condition with PET"),
    ],
)
def test_what_goes_with_no_baseline_is_refused(
    changes: dict[str, Any], message: str, store: CaseStore, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=message):
        finetune(settings(store, **changes), tmp_path / "run", say=quiet)
    assert not (tmp_path / "run").exists(), "found before the folder is claimed"
