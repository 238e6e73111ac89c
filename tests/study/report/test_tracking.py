"""What a study logs is read back from the files that `wandb sync` would send."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from hilum.core.settings import validate, write_yaml
from hilum.study.commands import read, run
from hilum.training import tracking
from hilum.training.settings import TrackingSettings
from hilum.training.tracking import tracked
from hilum.training.wandb_offline_reader import RunLog, read_run

from ...warm import python
from ..conftest import TRAINER, tiny_study

ML = ("intersection_ml", "volume_ml", "reference_volume_ml")
MAE = {"mae": {"pretrain": {"task": {"name": "masked_autoencoder", "block": [4, 4, 4]}}}}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)


def table(folder: Path, log: RunLog, name: str) -> dict[str, Any]:
    """Return head and rows of a table from the file that the log names."""
    [row] = [row for row in log.history if name in row]
    [file] = folder.rglob(row[name]["path"])
    return json.loads(file.read_text())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_study_is_logged_by_its_scheme_and_can_be_sent_by_the_command_it_tells(
    store: Path, tmp_path: Path
) -> None:
    out, lines = tmp_path / "the out", []
    study = tiny_study(store, factors={"pretext": MAE, "seed": [0]}, reference={})
    trainer = TRAINER | {"tracking": {"mode": "offline"}}
    study.pretrain["trainer"] = trainer
    study.finetune.update(trainer=trainer, pictures=1)
    write_yaml(tmp_path / "study.yaml", study)
    run(tmp_path / "study.yaml", out, say=lines.append)
    first, second = read(tmp_path / "study.yaml", out)[1]

    log = read_run(first.folder)
    assert (log.id, log.project, log.name) == (first.key, "tiny", "mae")
    assert (log.group, log.job_type, log.tags) == (
        "pretrain pretext: mae",
        "pretrain",
        ["pretext:mae"],
    )
    assert log.config["provenance"]["data"] == "abc"
    assert log.config["trainer"]["steps"] == 12, "the resolved settings"

    log = read_run(second.folder)
    assert (log.id, log.project, log.name) == (second.key, "tiny", "mae > 0")
    assert (log.group, log.job_type) == ("finetune pretext: mae", "finetune")
    assert log.tags == ["pretext:mae", "seed:0"]
    assert log.config["factors"] == {"pretext": "mae", "seed": 0}
    assert log.config["provenance"]["packages"]["hilum"]
    assert len(log.config["provenance"]["encoder"]) == 12
    scores = json.loads((second.folder / "summary.json").read_text())
    assert log.summary["test/dice_ct+pet"] == pytest.approx(scores["test/dice_ct+pet"])
    assert log.summary["best/val_dice"] == pytest.approx(scores["best"])
    shown = table(second.folder, log, "test/cases")
    ml = {c: [row[shown["columns"].index(c)] for row in shown["data"]] for c in ML}
    dscagg = (
        2 * sum(ml["intersection_ml"]) / (sum(ml["volume_ml"]) + sum(ml["reference_volume_ml"]))
    )
    assert log.summary["test/dscagg_ct+pet"] == pytest.approx(dscagg)
    assert "test/f1agg_ct+pet" in log.summary
    assert [row[:2] for row in shown["data"]] == [["ct+pet", "case_4"], ["ct+pet", "case_5"]]
    column = shown["columns"].index("dice")
    mean = sum(row[column] for row in shown["data"]) / 2
    assert mean == pytest.approx(scores["test/dice_ct+pet"])
    drawn = {path.stem.split("_")[0] for path in second.folder.glob("wandb/*/files/media/images/*")}
    assert drawn, "overlays are pictures, whatever a viewer can draw"

    log = read_run(out / "wandb")
    assert (log.project, log.job_type, log.name) == ("tiny", "ablate", "report")
    assert {"cases", "arms", "plots/1", "report"} <= {key for row in log.history for key in row}
    assert len(table(out / "wandb", log, "cases")["data"]) == 2

    told = lines[-1].removeprefix("to see it on W&B: ")
    done = subprocess.run(
        ["bash", "-c", f'printf "%s\\n" {told.removeprefix("wandb sync ")}'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.startswith(f"wandb sync {shlex.quote(str(out))}/")
    assert len([line for line in done.stdout.splitlines() if Path(line).is_dir()]) == 3


def test_weights_are_artifacts_where_a_server_keeps_them_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    asked: list[Any] = []
    settings = validate(TrackingSettings, {"mode": "offline", "project": "p", "id": "cell1"})
    for online in (False, True):
        with tracked(tmp_path / str(online), settings, {}) as tracker:
            assert tracker is not None
            tracker.online = online
            tracker._later(
                lambda run: monkeypatch.setattr(
                    run, "log_artifact", lambda *a, **k: asked.append((a, k))
                )
            )
            tracker.log_folder("encoder-cell1", "model", folder)
    assert asked == [((str(folder),), {"name": "encoder-cell1", "type": "model"})]


@pytest.fixture(params=["silent", "wrong key"])
def server(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of a server that never answers, or refuses every key."""
    if request.param == "silent":
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen(50)
            yield listening.getsockname()[1]
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as refusing:
        Thread(target=refusing.serve_forever, daemon=True).start()
        yield refusing.server_port
        refusing.shutdown()


class Refuses(BaseHTTPRequestHandler):
    """Answers as a server does to a wrong key."""

    def do_POST(self) -> None:
        self.send_response(401)
        self.end_headers()

    do_GET = do_POST  # noqa: N815 - the names are the library's

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


LOGS = """
import sys, time
from pathlib import Path
from hilum.core.settings import validate
from hilum.training import tracking
from hilum.training.settings import TrackingSettings
tracking.CLOSE_S = 2
settings = validate(TrackingSettings, {"mode": "online", "project": "p"})
with tracking.tracked(Path(sys.argv[1]), settings, {}) as tracker:
    began = time.thread_time()
    for step in range(300):
        tracker.log_metrics({"loss": 1.0}, step)
    print(time.thread_time() - began)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_server_that_is_silent_or_refuses_the_key_costs_a_training_nothing(
    server: int, tmp_path: Path
) -> None:
    more = {"WANDB_BASE_URL": f"http://127.0.0.1:{server}", "WANDB_API_KEY": "x" * 40}
    done = subprocess.run(
        [python(), "-P", "-c", LOGS, str(tmp_path)],
        env=os.environ | more,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[0]) < 0.5, "three hundred rows, in seconds of this thread"
    assert done.stderr.count("W&B failed and is off for this run") == 1


def test_a_logger_that_is_far_behind_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracking.Sender, "put", lambda self, job: False)
    settings = validate(TrackingSettings, {"mode": "offline", "id": "cell2"})
    tracker = tracking.Tracker(tmp_path, settings, {}, "cell2")
    tracker.summarise({"a": 1})
    assert tracker.broken
    assert [r.message for r in caplog.records] == [
        "W&B failed and is off for this run: it is too far behind"
    ]
