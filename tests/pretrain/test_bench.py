"""A pretraining run can be taken apart, and measured."""

from __future__ import annotations

from typing import Any

import pytest

from hilum.core.settings import validate
from hilum.datasets.store.case_store import CaseStore
from hilum.pretrain.bench import apart, bench, short
from hilum.pretrain.settings import PretrainSettings
from hilum.training.bench import bare


def settings(store: CaseStore, **task: Any) -> PretrainSettings:
    values = {
        "store": str(store.path),
        "encoder": {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]},
        "task": task,
        "patch": (8, 12, 16),
        "trainer": {"batch_size": 2, "precision": "32", "learning_rate": 0.1},
        "probe": {"every": 1},  # would ask for labels, which no case here has
    }
    return validate(PretrainSettings, values)


@pytest.mark.slow
def test_a_pretraining_run_is_measured_without_its_probe(store: CaseStore) -> None:
    found = bench(settings(store, name="volume_fusion"), steps=3)
    assert found.bare > 0
    assert min(found.loop, found.tracked) > 0
    assert found.patches == 2


@pytest.mark.slow
def test_a_teacher_follows_the_bare_steps(store: CaseStore) -> None:
    dino = settings(store, name="dino", prototypes=4, local_views=0)
    own = short(dino, 2, "disabled")
    parts = apart(own)
    before = {name: value.clone() for name, value in parts.module.state_dict().items()}
    bare(parts, own.trainer, 2)
    after = parts.module.state_dict()
    moved = {name for name in before if not before[name].equal(after[name])}
    assert any("teacher" in name for name in moved)
    assert any(name.startswith("task.encoder") for name in moved)
