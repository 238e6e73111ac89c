"""What was logged can be read back without a server, and a broken logger stops nothing."""

from __future__ import annotations

import json
import logging
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hilum.core.errors import DataError
from hilum.core.settings import validate
from hilum.training.jsonl_logger import JsonLines
from hilum.training.settings import TrackingSettings
from hilum.training.study_tracking import study_run
from hilum.training.tracking import Tracker, log_pictures, mode_of, tracked
from hilum.training.wandb_offline_reader import read_run

TRACKING = {
    "mode": "offline",
    "project": "toys",
    "group": "study-1",
    "job_type": "pretrain",
    "name": "toy > s0",
    "tags": ["fusion:early", "seed:0"],
}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.slow
def test_an_offline_run_is_read_back_with_everything_that_was_logged(
    toy: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    png = tmp_path / "picture.png"
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(png)

    class Show(toy.StopAt):
        def on_validation_batch_end(self, trainer: Any, *args: Any) -> None:
            log_pictures(trainer, "pictures", png)

    settings = toy.trainer_settings(tracking=TRACKING | {"id": "cell42"})
    _, summary = toy.train(tmp_path / "r", settings, Show(-1, 0))
    assert capsys.readouterr().err == ""
    log = read_run(tmp_path / "r")
    assert (log.id, log.project, log.name) == ("cell42", "toys", "toy > s0")
    assert (log.group, log.job_type) == ("study-1", "pretrain")
    assert log.tags == ["fusion:early", "seed:0"]
    assert log.config["trainer"]["learning_rate"] == 0.01
    assert [step for step, _ in log.series("train/loss")] == list(range(1, 13))
    assert [step for step, _ in log.series("val/score")] == [4, 8, 12]
    assert log.series("optimisation/learning_rate/decoder")[1] == (2, pytest.approx(0.01))
    assert log.summary["best/val_score"] == pytest.approx(summary["best"])
    assert log.summary["best/step"] == summary["best_step"]
    row = log.history[3]
    assert {"train/loss", "val/score", "pictures", "trainer/global_step"} <= row.keys()
    assert list((tmp_path / "r" / "wandb").rglob("*.png"))


@pytest.mark.slow
def test_two_sessions_of_a_run_share_one_identity_and_the_environment_stays(
    toy: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import os
    import signal

    from hilum.core.errors import Stopped

    settings = toy.trainer_settings(tracking=TRACKING)
    before = dict(os.environ)
    with pytest.raises(Stopped):
        toy.train(tmp_path / "r", settings, toy.StopAt(5, signal.SIGTERM))
    identity = json.loads((tmp_path / "r" / "tracking.json").read_text())["id"]
    # Two of long ago, within a second: W&B numbers the other one.
    for end in ("", "-1"):
        (tmp_path / "r" / "wandb" / f"offline-run-20200101_000000-{identity}{end}").mkdir()
    toy.train(tmp_path / "r", settings)
    log = read_run(tmp_path / "r")
    assert [step for step, _ in log.series("train/loss")] == list(range(1, 13))
    assert [row["_step"] for row in log.history if "train/loss" in row] == list(range(1, 13))
    told = [line for line in capsys.readouterr().out.splitlines() if "wandb sync" in line]
    sessions = sorted((tmp_path / "r" / "wandb").glob("offline-run-*"))
    assert len(sessions) > 2
    assert shlex.split(told[-1].partition(": ")[2]) == ["wandb", "sync", *map(str, sessions)]
    assert (log.name, log.job_type) == ("toy > s0", "pretrain")
    assert len(set(json.loads((tmp_path / "r" / "tracking.json").read_text()).values())) == 1
    assert os.environ.get("WANDB_MODE") == before.get("WANDB_MODE")


@pytest.mark.parametrize("broken", ["init", "log", "finish"])
def test_a_broken_logger_warns_once_and_the_training_goes_on(
    toy: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    broken: str,
) -> None:
    import wandb

    class Run:
        """A W&B run of which one part fails."""

        summary: dict[str, Any]

        def __init__(self) -> None:
            self.summary = {}

        def log(self, row: Any, step: int | None = None) -> None:
            if broken == "log":
                raise OSError("no space")

        def finish(self, exit_code: int) -> None:
            if broken == "finish":
                raise OSError("no space")

    def start(**kwargs: Any) -> Run:
        if broken == "init":
            raise OSError("no space")
        return Run()

    monkeypatch.setattr(wandb, "init", start)
    settings = toy.trainer_settings(tracking=TRACKING)
    with caplog.at_level(logging.WARNING, "hilum.training"):
        _, summary = toy.train(tmp_path / "r", settings)
    assert summary["steps"] == 12
    assert [r.message for r in caplog.records] == ["W&B failed and is off for this run: no space"]
    assert len((tmp_path / "r" / "metrics.jsonl").read_text().splitlines()) == 12


def test_a_single_run_has_a_name_a_group_a_kind_and_tags_that_are_taken(tmp_path: Path) -> None:
    settings = validate(
        TrackingSettings,
        {"tags": ["seed:0", "seed:0", "", "pretext:" + "x" * 80], "factors": {"seed": 0, "a": "b"}},
    )
    place = tmp_path / "runs" / "first"
    place.mkdir(parents=True)
    with tracked(place, settings, {"trainer": {"steps": 3}}, "finetune") as tracker:
        assert tracker is not None
        tracker.log_metrics({"train/loss": 1.0}, 7)
    assert not tracker.broken
    log = read_run(place)
    assert (log.name, log.group, log.job_type) == ("first", "runs", "finetune")
    assert log.config["factors"] == {"seed": 0, "a": "b"}
    assert log.config["trainer"] == {"steps": 3}
    assert sorted(len(tag) for tag in log.tags) == [6, 64]
    assert [row["_step"] for row in log.history] == [7]


def test_a_study_run_logs_tables_and_the_page(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("<p>answer</p>")
    with study_run(tmp_path, {"project": "toys"}, {"name": "s"}) as log:
        log.table("arms", ["arm", "dice"], [["early", 0.5]])
        log.html("report", page)
        log.summary({"answer": 1})
    found = read_run(tmp_path)
    assert found.job_type == "ablate"
    assert found.summary["answer"] == 1
    keys = {key for row in found.history for key in row}
    assert {"arms", "report"} <= keys


def test_without_tracking_nothing_is_written(tmp_path: Path) -> None:
    with study_run(tmp_path, {"mode": "disabled"}, {}) as log:
        log.table("arms", ["arm"], [["early"]])
        log.html("report", "text")
        log.pictures("p", np.zeros((2, 2), np.uint8))
        log.summary({"a": 1})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("asked", "variable", "key", "expected"),
    [
        ("offline", None, True, "offline"),
        ("online", None, True, "online"),
        ("online", None, False, "offline"),
        ("online", "dryrun", True, "offline"),
        ("offline", "online", True, "offline"),
        ("online", "disabled", True, "disabled"),
        ("disabled", "online", True, "disabled"),
        ("offline", "nonsense", True, "offline"),
    ],
)
def test_the_environment_can_only_make_tracking_quieter(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    asked: Any,
    variable: str | None,
    key: bool,
    expected: str,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if variable:
        monkeypatch.setenv("WANDB_MODE", variable)
    if key:
        monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert mode_of(asked) == expected


def test_metrics_of_one_step_share_a_line_and_nan_is_null(tmp_path: Path) -> None:
    journal = JsonLines(tmp_path / "metrics.jsonl")
    journal.log_metrics({"a": 1.0, "epoch": 0}, 1)
    journal.log_metrics({"b": float("nan")}, 1)
    journal.log_metrics({"a": 2.0}, 2)
    journal.finalize("success")
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"step": 1, "a": 1.0, "b": None},
        {"step": 2, "a": 2.0},
    ]


def test_rows_of_a_killed_session_after_the_checkpoint_go(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1, "a": 1}\n{"step": 2, "a": 1}\n{"step": 3, "a": 1}\n{"ste')
    JsonLines(file, step=2)
    assert [json.loads(line)["step"] for line in file.read_text().splitlines()] == [1, 2]


def test_a_folder_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must hold an offline W&B run"):
        read_run(tmp_path)
    (tmp_path / "run-x.wandb").write_bytes(b"nothing here")
    with pytest.raises(DataError, match="must be an offline W&B run"):
        read_run(tmp_path)


def test_a_tracker_survives_a_folder_that_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    settings = validate(TrackingSettings, TRACKING)
    with (
        caplog.at_level(logging.WARNING, "hilum.training"),
        pytest.raises((NotADirectoryError, FileExistsError)),
        tracked(tmp_path / "file", settings, {}),
    ):
        pass  # the identity cannot be kept: the run folder itself is broken
    tracker = Tracker(tmp_path / "file", settings, {}, "id")
    tracker.log_metrics({"a": 1.0}, 1)
    tracker.close()
