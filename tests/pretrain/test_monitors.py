"""Monitors tell collapsed features from healthy ones, and keep the patches of an alarm."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from hilum.core.errors import DataError
from hilum.core.settings import validate
from hilum.datasets.store.case_store import CaseStore
from hilum.encoders.resenc import ResencEncoder
from hilum.pretrain.base import PretextBatch
from hilum.pretrain.monitors import Monitors, inner_voxels, rank_me, spread
from hilum.pretrain.run import pretrain
from hilum.pretrain.settings import MonitorSettings, PretrainSettings
from hilum.pretrain.tasks.masked_autoencoder import MaskedAutoencoder


def normal(*sides: int) -> torch.Tensor:
    return torch.randn(*sides, generator=torch.Generator().manual_seed(0))


def test_the_effective_rank_equals_numpy_written_slowly() -> None:
    features = normal(20, 6)
    values = np.linalg.svd(features.double().numpy(), compute_uv=False)
    share = values / values.sum()
    assert rank_me(features) == pytest.approx(math.exp(-sum(p * math.log(p) for p in share)))


def test_the_effective_rank_counts_equal_directions() -> None:
    assert rank_me(torch.eye(7)) == pytest.approx(7)
    assert rank_me(torch.eye(7)[:3]) == pytest.approx(3)
    assert rank_me(normal(1, 5).expand(9, 5)) == pytest.approx(1)
    assert rank_me(3.7 * normal(8, 4)) == pytest.approx(rank_me(normal(8, 4)))
    assert rank_me(torch.zeros(4, 3)) == 1
    assert math.isnan(rank_me(torch.full((4, 3), math.nan)))


def test_the_spread_is_one_for_all_directions_and_zero_for_one() -> None:
    assert spread(normal(4000, 8)) == pytest.approx(1, abs=0.02)
    assert spread(normal(1, 8).expand(50, 8)) == pytest.approx(0, abs=1e-6)


def test_only_voxels_that_touch_the_body_are_looked_at() -> None:
    coarse = torch.arange(24.0).view(1, 1, 2, 3, 4)
    body = torch.zeros(1, 1, 4, 6, 8, dtype=torch.bool)
    body[0, 0, 3, 2, 5] = True  # in coarse voxel (1, 1, 2)
    assert inner_voxels(coarse, body, 10).tolist() == [[12 + 4 + 2]]
    body[:] = True
    assert len(inner_voxels(coarse, body, 10)) == 8
    assert len(inner_voxels(coarse, body, 24)) == 24


def parts() -> tuple[MaskedAutoencoder, PretextBatch, dict[str, object]]:
    torch.manual_seed(0)
    encoder = ResencEncoder(in_channels=2, features=(4, 8), blocks=(1, 1))
    task = MaskedAutoencoder(encoder=encoder, modalities=("ct", "pet"), block=4).eval()
    image = normal(3, 2, 8, 12, 16)
    view = PretextBatch(
        image,
        torch.ones(3, 2, dtype=torch.bool),
        torch.ones(3, 1, 8, 12, 16, dtype=torch.bool),
        torch.Generator().manual_seed(0),
    )
    return task, view, {"image": image, "case": ["a", "b", "a"]}


def test_healthy_features_give_no_alarm(caplog: pytest.LogCaptureFixture) -> None:
    task, view, batch = parts()
    monitors = Monitors(validate(MonitorSettings, {}))
    for _ in range(2):
        monitors.add(task, view, {"teacher_entropy": torch.tensor(0.5)}, batch)  # pyright: ignore
    found = monitors.end(5)
    assert found["monitor/voxel_rank"] > 2
    assert found["monitor/feature_std"] > 0.3
    assert 1 < found["monitor/rank"] <= 6
    assert found["monitor/teacher_entropy"] == 0.5
    assert not caplog.records
    assert monitors.end(6) == {}, "each validation begins anew"


@pytest.mark.parametrize("entropy", [0.5, 1.0])
def test_a_collapse_is_a_warning_once_and_keeps_the_patches(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, entropy: float
) -> None:
    task, view, batch = parts()
    if entropy < 1:
        with torch.no_grad():  # all channels equal everywhere
            for parameter in task.encoder.parameters():
                parameter.zero_()
    monitors = Monitors(validate(MonitorSettings, {}), tmp_path)
    with caplog.at_level(logging.WARNING, "hilum.pretrain"):
        for step in (10, 20):
            monitors.add(task, view, {"teacher_entropy": torch.tensor(entropy)}, batch)  # pyright: ignore
            monitors.end(step)
    assert len(caplog.records) == 1
    message = caplog.records[0].getMessage()
    assert "the features of step 10 must not collapse" in message
    assert ("teacher_entropy" if entropy == 1 else "feature_std") in message
    assert [file.name for file in tmp_path.iterdir()] == ["collapse-step-000010.safetensors"]
    with safe_open(tmp_path / "collapse-step-000010.safetensors", "pt") as file:
        assert json.loads(file.metadata()["case"]) == ["a", "b", "a"]
        assert torch.equal(file.get_tensor("image"), view.image)


def test_a_collapse_stops_the_run_if_asked_for(store: CaseStore, tmp_path: Path) -> None:
    values = {
        "store": store.path,
        "encoder": {"name": "resenc", "features": [4, 8], "blocks": [1, 1]},
        "task": {"name": "masked_autoencoder", "block": 4},
        "patch": (16, 14, 18),
        "trainer": {"steps": 2, "precision": "32", "tracking": {"mode": "disabled"}},
        "monitors": {"stop": True, "least_rank": 8.1},
    }
    with pytest.raises(DataError, match=r"step 2 must not collapse.*voxel_rank"):
        pretrain(validate(PretrainSettings, values), tmp_path / "r")
    assert (tmp_path / "r" / "replay" / "collapse-step-000002.safetensors").exists()
    values |= {"monitors": {}}
    pretrain(validate(PretrainSettings, values), tmp_path / "s")
    rows = [json.loads(x) for x in (tmp_path / "s" / "metrics.jsonl").read_text().splitlines()]
    assert {"monitor/rank", "monitor/voxel_rank", "monitor/feature_std"} <= rows[-1].keys()


def test_watching_does_not_change_the_encoder(store: CaseStore, tmp_path: Path) -> None:
    values = {
        "store": store.path,
        "encoder": {"name": "resenc", "features": [4, 8], "blocks": [1, 1]},
        "task": {"name": "masked_autoencoder", "block": 4},
        "patch": (16, 14, 18),
        "trainer": {
            "steps": 2,
            "precision": "32",
            "validate_every": 1,
            "tracking": {"mode": "disabled"},
        },
    }
    for name in ("on", "off"):
        settings = values | {"monitors": {"on": name == "on"}}
        pretrain(validate(PretrainSettings, settings), tmp_path / name)
    one, other = (
        (tmp_path / n / "encoder" / "model.safetensors").read_bytes() for n in ("on", "off")
    )
    assert one == other
