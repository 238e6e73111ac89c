"""What `hilum pretrain` says at its end is what `hilum finetune` takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hilum.cli.app import main
from hilum.datasets.store.case_store import CaseStore

from ..tiny_cohort import ENCODER, manifest, store

__all__ = ["manifest", "store"]

SMALL = ["patch=[8,8,8]", "trainer.steps=1", f"encoder={ENCODER}", "trainer.tracking.mode=disabled"]


Run = Callable[..., str]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs a command and returns what it said."""

    def run(*words: object) -> str:
        monkeypatch.setattr("sys.argv", ["hilum", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return capsys.readouterr().out

    return run


def test_the_network_that_a_pretraining_names_is_what_fine_tuning_begins_from(
    store: CaseStore, tmp_path: Path, command: Run
) -> None:
    task = ["task.name=masked_autoencoder", "task.block=4"]
    out = command("pretrain", "--out", tmp_path / "pre", f"store={store.path}", *SMALL, *task)
    (line,) = (x for x in out.splitlines() if x.startswith("network: "))
    words = [word for word in line.strip(")").split() if word.startswith("init_from=")]
    command("finetune", "--out", tmp_path / "run", f"store={store.path}", *SMALL, *words)
    report = json.loads((tmp_path / "run" / "load_report.json").read_text("utf-8"))
    assert "decoder" in json.dumps(report)


def test_a_task_without_a_decoder_names_no_network(
    store: CaseStore, tmp_path: Path, command: Run
) -> None:
    task = ["task.name=simclr", "trainer.batch_size=2"]
    out = command("pretrain", "--out", tmp_path / "pre", f"store={store.path}", *SMALL, *task)
    assert "\nencoder: " in out
    assert "\nnetwork: " not in out
