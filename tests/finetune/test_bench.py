"""The bench measures every phase of a real run, and leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest

from hilum.core.settings import validate
from hilum.datasets.store import CaseStore
from hilum.finetune.bench import bench
from hilum.finetune.settings import FinetuneSettings
from hilum.training.bench import PHASES


@pytest.mark.slow
def test_a_run_is_measured_and_nothing_is_kept(
    store: CaseStore, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = {
        "store": str(store.path),
        "encoder": {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]},
        "patch": (8, 12, 16),
        "trainer": {"batch_size": 2, "precision": "32"},
    }
    found = bench(validate(FinetuneSettings, values), steps=3)
    assert list(found.phases) == list(PHASES)
    assert all(seconds >= 0 for seconds in found.phases.values())
    assert found.phases["backward"] > found.phases["transfer"]
    assert found.loop > 0
    assert found.tracked > 0
    text = "\n".join(found.lines())
    for word in (*PHASES, "bare loop", "real run", "with W&B", "one step of 2 patches"):
        assert word in text
    assert not list(tmp_path.iterdir())
