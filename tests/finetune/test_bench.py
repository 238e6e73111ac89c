"""The bench measures every phase of a real run, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hilum.core.errors import SettingsError
from hilum.core.settings import validate
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.bench import bench, quietly, short
from hilum.finetune.settings import FinetuneSettings
from hilum.training.bench import PHASES, WARM


def settings(store: CaseStore) -> FinetuneSettings:
    values = {
        "store": str(store.path),
        "encoder": {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]},
        "patch": (8, 12, 16),
        "trainer": {"batch_size": 2, "precision": "32"},
    }
    return validate(FinetuneSettings, values)


@pytest.mark.slow
def test_a_run_is_measured_and_nothing_is_kept(
    store: CaseStore, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = bench(settings(store), steps=3)
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
def test_a_short_run_trains_and_does_nothing_else(store: CaseStore, tmp_path: Path) -> None:
    quietly(short(settings(store), 2, "disabled"), tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2 + WARM]
    assert not any(key.startswith("val") for row in rows for key in row)
    assert not (tmp_path / "run/test").exists()
    assert not list(tmp_path.glob("run/pictures/*"))


@pytest.mark.parametrize("nothing", [{"baseline": {"limit": 2}}, {"split": {"labels": 0}}])
def test_a_run_that_trains_nothing_is_not_measured(nothing: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="nothing is trained that could be measured"):
        bench(validate(FinetuneSettings, {"store": "store"} | nothing))
