"""The bench measures every phase of a real run, and leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest

from hilum.core.settings import validate
from hilum.datasets.store import CaseStore
from hilum.pretrain.bench import apart, bench, short
from hilum.pretrain.settings import PretrainSettings
from hilum.training.bench import PHASES, bare


@pytest.mark.slow
def test_a_run_is_measured_and_nothing_is_kept(
    store: CaseStore, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = {
        "store": str(store.path),
        "encoder": {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]},
        "patch": (8, 12, 16),
        "task": {"name": "volume_fusion"},
        "trainer": {"batch_size": 2, "precision": "32"},
    }
    found = bench(validate(PretrainSettings, values), steps=3)
    assert list(found.phases) == list(PHASES)
    assert all(seconds >= 0 for seconds in found.phases.values())
    assert found.phases["backward"] > found.phases["transfer"]
    assert found.loop > 0
    assert found.tracked > 0
    text = "\n".join(found.lines())
    for word in (*PHASES, "bare loop", "real run", "with W&B", "one step of 2 patches"):
        assert word in text
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_teacher_follows_the_bare_steps(store: CaseStore) -> None:
    values = {
        "store": str(store.path),
        "encoder": {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]},
        "task": {"name": "dino", "prototypes": 4, "local_views": 0},
        "patch": (8, 12, 16),
        "trainer": {"batch_size": 2, "precision": "32", "learning_rate": 0.1},
    }
    own = short(validate(PretrainSettings, values), 2, "disabled")
    parts = apart(own)
    before = {name: value.clone() for name, value in parts.module.state_dict().items()}
    bare(parts, own.trainer, 2)
    after = parts.module.state_dict()
    moved = {name for name in before if not before[name].equal(after[name])}
    assert any("teacher" in name for name in moved)
    assert any(name.startswith("task.encoder") for name in moved)
