"""Cells are handed to a shell, to W&B's agents or to a cluster, and one command runs each."""

from __future__ import annotations

import os
import queue
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from hilum.core.errors import SettingsError, Stopped, UserError
from hilum.core.files import write_json, write_text
from hilum.core.settings import write_yaml
from hilum.study.commands import read, submit
from hilum.study.grid.sweep import write_sweep
from hilum.study.run import cell_command as single
from hilum.study.run import ledger
from hilum.study.run.cell_command import run_one

from ...command import process_of
from ..conftest import tiny_study

MAE = {"mae": {"pretrain": {"task": {"name": "masked_autoencoder", "block": [4, 4, 4]}}}}


@pytest.fixture
def short(store: Path, tmp_path: Path) -> Path:
    """A study of one pretraining and one fine-tuning cell."""
    factors = {"pretext": MAE, "seed": [0]}
    write_yaml(tmp_path / "short.yaml", tiny_study(store, factors=factors, reference={}))
    return tmp_path / "short.yaml"


def states(file: Path, out: Path) -> list[str]:
    return [entry.state for entry in ledger.read(read(file, out)[1])]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_printed_commands_run_the_study_in_a_shell(
    short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "with a space"
    lines: list[str] = []
    submit(short, out, ["name=renamed"], engine="print", say=lines.append)
    assert len(lines) == 2
    (tmp_path / "hilum").write_text(f'#!/bin/sh\nexec {shlex.join(process_of())} "$@"\n')
    (tmp_path / "hilum").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run(
        ["bash", "-e"], input="\n".join(lines), text=True, capture_output=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert states(out / "study.yaml", out) == ["done", "done"]
    lines.clear()
    submit(short, out, ["name=renamed"], engine="print", say=lines.append)
    assert lines == [], "nothing is left to run"


def test_what_has_failed_is_handed_to_nobody_until_it_is_cleared(
    file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = read(file, out)[1][0]
    write_json(first.folder / "failed.json", {"message": "no luck"})
    lines: list[str] = []
    submit(file, out, engine="print", say=lines.append)
    keys = [line.split()[-1] for line in lines]
    assert keys == [cell.key for cell in read(file, out)[1][1:3]], "the two that start from scratch"
    with pytest.raises(UserError, match=r"no luck.*study retry"):
        run_one(out / "study.yaml", out, key=read(file, out)[1][-1].key)


def test_engines_that_are_not_here_are_named_with_what_is(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match=r"local, print, sbatch.*did you mean"):
        submit(file, tmp_path / "out", engine="sbach")
    with pytest.raises(UserError, match=r"sbatch must be on the PATH.*local, print or script"):
        submit(file, tmp_path / "out", engine="sbatch")


SBATCH = """#!/bin/sh
# Notes its arguments but for the script, which each call has of its own, and gives a number.
shift
for word in "$@"; do case $word in *.sbatch) echo script;; *) echo "$word";; esac; done >> calls
echo >> calls
grep -c '^$' calls
"""


def test_scripts_are_printed_without_slurm_and_submit_what_would_be_submitted(
    short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, lines = tmp_path / "with a space", []
    submit(short, out, ["sbatch.time=8:00:00"], engine="script", say=lines.append)
    shown = "\n".join(lines)
    for stage in ("pretrain", "finetune"):
        script = (out / "slurm" / "001" / f"{stage}.sbatch").read_text("utf-8")
        assert script.rstrip() in shown
        assert "#SBATCH --time=8:00:00" in script
        assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
    assert not (out / "slurm" / "jobs.json").exists()
    calls = []
    write_text(tmp_path / "bin" / "sbatch", SBATCH)
    (tmp_path / "bin" / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    for name in ("by hand", "by hilum"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        if name == "by hand":
            subprocess.run(["sh", out / "slurm" / "001" / "submit.sh"], check=True)
        else:
            submit(short, out, ["sbatch.time=8:00:00"], engine="sbatch", say=lines.append)
        calls.append((tmp_path / name / "calls").read_text())
    assert calls[0] == calls[1]
    assert "--dependency=afterok:1_1" in calls[0]


def test_a_cell_is_named_by_its_key_or_by_a_level_of_every_factor(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    ran: list[str] = []
    monkeypatch.setattr(single, "_finish", lambda cell, tracking, say: ran.append(cell.name))
    folder = run_one(file, out, levels=["seed=1", "pretext=mae"])
    assert ran == ["mae", "mae > 1"], "what it starts from comes first"
    cells = read(file, out)[1]
    assert folder == run_one(file, out, key=cells[-1].key) == cells[-1].folder
    with pytest.raises(UserError, match="must have a cell abc"):
        run_one(file, out, key="abc")
    with pytest.raises(SettingsError, match=r"'sed' must be a factor.*did you mean 'seed'"):
        run_one(file, out, levels=["sed=1"])
    with pytest.raises(SettingsError, match="no pretext"):
        run_one(file, out, levels=["seed=1"])
    with pytest.raises(SettingsError, match="seed must be one of 0, 1"):
        run_one(file, out, levels=["seed=7", "pretext=mae"])


def test_a_combination_that_the_study_leaves_out_is_no_error_for_an_agent(
    store: Path, tmp_path: Path
) -> None:
    study = tiny_study(store, exclude=[{"pretext": "mae", "seed": 1}])
    write_yaml(tmp_path / "s.yaml", study)
    lines: list[str] = []
    given = ["seed=1", "pretext=mae"]
    assert run_one(tmp_path / "s.yaml", tmp_path / "out", levels=given, say=lines.append) is None
    assert lines == ["the study leaves this combination out"]


def test_a_signal_between_two_trainings_asks_to_be_started_again(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: Any) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(5)

    monkeypatch.setattr(single, "_finish", interrupted)
    before = signal.getsignal(signal.SIGUSR1)
    with pytest.raises(Stopped) as stop:
        run_one(file, tmp_path / "out", levels=["seed=1", "pretext=mae"])
    assert stop.value.exit_code == 75
    assert signal.getsignal(signal.SIGUSR1) == before


def test_a_cell_that_another_runner_has_is_waited_for(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = read(file, tmp_path / "out")[1][1]
    looks: list[int] = []

    def look(other: Any) -> bool:
        looks.append(1)
        if len(looks) == 3:
            write_text(cell.folder / "DONE", "")
        return True

    monkeypatch.setattr(single, "busy", look)
    monkeypatch.setattr(single, "PAUSE_S", 0.01)
    lines: list[str] = []
    run_one(file, tmp_path / "out", key=cell.key, say=lines.append)
    assert lines == ["waiting   another runner has scratch > 0", "done      finetune scratch > 0"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # W&B's reader of sweep files
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_agent_of_wandb_runs_a_cell_from_the_sweep_file(
    short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wandb.sdk.launch.sweeps.utils import load_sweep_config
    from wandb.wandb_agent import Agent

    out = tmp_path / "out"
    study = read(short, out)[0]
    written = write_sweep(study, out, process_of())
    sweep = load_sweep_config(str(written))
    assert sweep is not None
    assert sweep["method"] == "grid"
    assert sweep["parameters"] == {"pretext": {"values": ["mae"]}, "seed": {"values": ["0"]}}
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    monkeypatch.setenv("WANDB_RUN_ID", "set by the agent")
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", "set by the agent")
    agent = Agent(None, queue.Queue(), sweep_id="sweep1")
    agent._sweep_command = sweep["command"]
    given = {name: {"value": row["values"][0]} for name, row in sweep["parameters"].items()}
    agent._command_run({"run_id": "run1", "program": "", "args": given})
    assert agent._run_processes["run1"].wait(240) == 0
    assert states(short, out) == ["done", "done"]


def test_levels_that_wandb_cannot_hand_on_are_refused(store: Path, tmp_path: Path) -> None:
    study = tiny_study(store, factors={"patch": [[8, 16, 16]], "seed": [0]}, reference={})
    with pytest.raises(SettingsError, match=r"'patch' must be words or numbers.*name the levels"):
        write_sweep(study, tmp_path, [])
    given = tiny_study(store, factors={"seed": [0, 1]}, reference={})
    rows = yaml.safe_load(write_sweep(given, tmp_path, []).read_text())
    assert rows["parameters"]["seed"]["values"] == ["0", "1"], "words: 1 must not come back as 1.0"
