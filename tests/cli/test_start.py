"""What is said before anything runs: the start line of a run, and the plan of a study."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hilum.cli.app import app
from hilum.core.errors import SettingsError
from hilum.core.settings import validate
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.run import finetune
from hilum.finetune.settings import FinetuneSettings
from hilum.pretrain.run import pretrain
from hilum.pretrain.settings import PretrainSettings

from ..tiny_cohort import ENCODER, manifest, store  # noqa: F401

TRAINER = {"steps": 1, "batch_size": 1, "tracking": {"mode": "disabled"}}


def test_a_fine_tuning_says_in_one_line_what_runs(store: CaseStore, tmp_path: Path) -> None:  # noqa: F811
    """Six patients, two of them for the test by the manifest."""
    values = {"encoder": ENCODER, "patch": (8, 8, 8), "trainer": TRAINER, "pictures": 0}
    values |= {"split": {"labels": 2, "validation": 1}, "evaluate_test": False, "foreground": 0}
    values |= {"operating_point": {"choose": False}, "validate_on": "patches"}
    lines: list[str] = []
    settings = validate(FinetuneSettings, {"store": str(store.path), **values})
    finetune(settings, tmp_path / "run", say=lines.append)
    wanted = "patients: 2 train, 1 validate, 2 test; network: resenc, early fusion, ct+pet; 1 steps"
    assert [line for line in lines if line.startswith("patients")] == [
        f"{wanted}; output: {tmp_path / 'run'}"
    ]


def test_a_pretraining_says_in_one_line_what_runs(store: CaseStore, tmp_path: Path) -> None:  # noqa: F811
    values = {"encoder": ENCODER, "patch": (16, 16, 16), "trainer": TRAINER}
    values |= {"task": {"name": "masked_autoencoder"}}
    lines: list[str] = []
    settings = validate(PretrainSettings, {"store": str(store.path), **values})
    pretrain(settings, tmp_path / "run", say=lines.append)
    wanted = "patients: 3 train, 1 validate; task: masked_autoencoder; network: resenc, ct+pet"
    assert [line for line in lines if line.startswith("patients")] == [
        f"{wanted}; 1 steps; output: {tmp_path / 'run'}"
    ]


@pytest.fixture
def study(store: CaseStore, tmp_path: Path) -> Path:  # noqa: F811
    file = tmp_path / "study.yaml"
    text = f"name: tiny\nstore: {store.path}\nfactors: {{seed: [0, 1]}}\n"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_study_is_planned_without_a_folder(study: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    shown = CliRunner().invoke(app, ["study", "plan", str(study)])
    assert shown.exit_code == 0, shown.output
    assert shown.output.count("new") >= 2
    assert "/tmp" not in shown.output.replace(str(tmp_path), "")
    assert sorted(tmp_path.iterdir()) == before


def test_times_are_measured_only_with_a_folder(study: Path) -> None:
    shown = CliRunner().invoke(app, ["study", "plan", str(study), "--calibrate"])
    assert isinstance(shown.exception, SettingsError)
    assert "add --out DIR" in str(shown.exception)
