"""The bench measures every phase of a real run, and its advice follows from the numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hilum.core.settings import validate
from hilum.datasets.store import CaseStore
from hilum.finetune.bench import PHASES, Bench, advice, bench
from hilum.finetune.settings import FinetuneSettings


def settings(store: str = "none", **trainer: Any) -> FinetuneSettings:
    values = {
        "store": store,
        "encoder": {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]},
        "patch": (8, 12, 16),
        "trainer": trainer,
    }
    return validate(FinetuneSettings, values)


def made(**changes: Any) -> Bench:
    phases = dict.fromkeys(PHASES, 0.0) | {"forward": 0.03, "backward": 0.06, "data": 0.001}
    values = {"phases": phases, "loop": 0.092, "tracked": 0.093, "memory": 1.0}
    return Bench(**(values | {"patches": 2, "device": "2 threads"} | changes))


@pytest.mark.slow
def test_a_run_is_measured_and_nothing_is_kept(
    store: CaseStore, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = bench(settings(str(store.path), batch_size=1, precision="32"), steps=3)
    assert list(found.phases) == list(PHASES)
    assert all(seconds >= 0 for seconds in found.phases.values())
    assert found.phases["backward"] > found.phases["transfer"]
    assert found.loop > 0
    assert found.tracked > 0
    text = "\n".join(found.lines())
    for word in (*PHASES, "bare loop", "real run", "with W&B"):
        assert word in text
    assert not list(tmp_path.iterdir())


def test_what_takes_longest_is_the_limit() -> None:
    assert advice(made(), settings())[0] == "limit: backward, 66 % of a step"


def test_waiting_for_data_asks_for_workers() -> None:
    slow = made(phases=dict(made().phases) | {"data": 0.09})
    lines = "\n".join(advice(slow, settings()))
    assert "limit: data, 50 %" in lines
    assert "trainer.workers=" in lines
    many = settings(workers=1000)
    assert "slow disk" in "\n".join(advice(slow, many))


def test_a_dear_loop_is_named() -> None:
    assert "50 % above the bare steps" in "\n".join(advice(made(tracked=0.1365), settings()))


@pytest.mark.skipif(torch.cuda.is_available(), reason="of a processor")
def test_idle_cores_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert "trainer.threads=64" in "\n".join(advice(made(), settings()))
