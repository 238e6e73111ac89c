"""Every file of settings that hilum writes is taken by the commands that it is written for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hilum.core.settings import load
from hilum.datasets.store.case_store import CaseStore
from hilum.pretrain.settings import PretrainSettings

from ..command import hilum
from ..tiny_cohort import ENCODER, manifest, store

__all__ = ["manifest", "store"]

SHORT = ["trainer.steps=1", "trainer.tracking.mode=disabled", "patch=[8,8,8]", f"encoder={ENCODER}"]
STUDY = """
name: written
question: Is it read?
factors: {seed: [0]}
finetune: {trainer: {steps: 1}}
"""


def shown(command: str, *words: str | Path) -> dict[str, Any]:
    """Return the settings with which a command would run."""
    done = hilum(command, "--dry-run", *words)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


def of_training(command: str, *words: str) -> Callable[[Path, CaseStore], None]:
    def check(folder: Path, store: CaseStore) -> None:
        small = [f"store={store.path}", *SHORT, *words]
        asked = shown(command, "--out", folder / "run", *small)
        (folder / "shown.yaml").write_text(yaml.safe_dump(asked), "utf-8")
        done = hilum(command, "--out", folder / "run", "-c", folder / "shown.yaml")
        assert done.returncode == 0, done.stderr
        written = folder / "run/config.yaml"
        assert asked["trainer"]["steps"] == 1
        assert yaml.safe_load(written.read_text("utf-8")) == asked
        assert shown(command, "--out", folder / "again", "-c", written) == asked

    return check


def of_sweep(folder: Path, store: CaseStore) -> None:
    (folder / "study.yaml").write_text(f"{STUDY}store: {store.path}\n", "utf-8")
    done = hilum("study", "sweep", folder / "study.yaml", "--out", folder / "sweep")
    assert done.returncode == 0, done.stderr
    plans = [
        hilum("study", "plan", file, "--out", folder / "out").stdout
        for file in (folder / "study.yaml", folder / "sweep/study.yaml")
    ]
    assert plans[0] == plans[1] != ""


WRITTEN = {
    "--dry-run and config.yaml of pretrain": of_training(
        "pretrain", "task={name: simmim, block: 4}"
    ),
    "--dry-run and config.yaml of finetune": of_training("finetune", "evaluate_test=false"),
    "study.yaml of study sweep": of_sweep,
}


@pytest.mark.parametrize("what", WRITTEN)
def test_what_one_command_writes_another_takes(what: str, store: CaseStore, tmp_path: Path) -> None:
    WRITTEN[what](tmp_path, store)


@pytest.fixture(scope="module")
def planned(store: CaseStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("planned") / "plan.yaml"
    assert hilum("plan", store.path, "--out", file, "batch_size=3").returncode == 0
    return file


def test_fine_tuning_takes_all_of_a_plan(planned: Path, store: CaseStore, tmp_path: Path) -> None:
    asked = yaml.safe_load(planned.read_text("utf-8"))
    found = shown("finetune", "--out", tmp_path / "run", "-c", planned, f"store={store.path}")
    assert {key: found[key] for key in asked if key != "trainer"} == {
        key: value for key, value in asked.items() if key != "trainer"
    }
    assert {key: found["trainer"][key] for key in asked["trainer"]} == asked["trainer"]


def test_pretraining_takes_its_part_of_a_plan_and_prints_what_it_leaves(
    planned: Path, store: CaseStore, tmp_path: Path
) -> None:
    asked = yaml.safe_load(planned.read_text("utf-8"))
    edited = tmp_path / "plan.yaml"
    text = planned.read_text("utf-8").replace("steps: 1000", "steps: 7")
    edited.write_text(f"{text}loss: {{name: dice}}\n", "utf-8")
    words = ["--out", tmp_path / "run", "-c", edited, f"store={store.path}"]
    done = hilum("pretrain", "--dry-run", *words, "task.name=masked_autoencoder")
    assert done.returncode == 0, done.stderr
    found, usual = yaml.safe_load(done.stdout), load(PretrainSettings, store=store.path)
    for key in ("modalities", "encoder", "patch"):
        assert found[key] == asked[key] != usual.model_dump(mode="json")[key]
    assert found["trainer"]["batch_size"] == 3
    assert found["trainer"]["steps"] == usual.trainer.steps
    [line] = done.stderr.splitlines()
    assert line == f"{edited}: left to hilum finetune: fusion, trainer.steps, loss"


def test_settings_of_fine_tuning_that_are_no_plan_are_refused_by_pretraining(
    planned: Path, store: CaseStore, tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(planned.read_text("utf-8").partition("\n")[2], "utf-8")
    done = hilum("pretrain", "--out", tmp_path / "run", "-c", other, f"store={store.path}")
    assert done.returncode == 2
    assert done.stderr == "error: fusion: unknown setting\n"
    assert not (tmp_path / "run").exists()
