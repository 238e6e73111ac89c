"""Learning rates are functions of the step; norms and biases do not decay."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn

from hilum.core.errors import SettingsError
from hilum.core.settings import validate
from hilum.training.optimisation import configure, parameter_groups, rate_at
from hilum.training.settings import TrainerSettings


def test_the_rate_rises_to_one_and_falls_to_zero() -> None:
    poly = [rate_at(step, 100, 0.1, "poly") for step in range(101)]
    assert poly[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert poly[10] == 1
    assert poly[55] == pytest.approx(0.5**0.9)
    assert poly[100] == 0
    cosine = [rate_at(step, 100, 0.0, "cosine") for step in range(101)]
    assert (cosine[0], cosine[100]) == (1, 0)
    assert cosine[25] == pytest.approx((1 + 2**-0.5) / 2)
    assert all(a >= b for a, b in itertools.pairwise(cosine))


def test_the_schedule_of_torch_gives_each_part_its_rate() -> None:
    encoder, decoder = nn.Linear(2, 3), nn.Linear(3, 1)
    settings = TrainerSettings(steps=10, learning_rate=0.1, warmup=0.2)
    made = configure({"encoder": (encoder, 0.1), "decoder": (decoder, 1.0)}, settings)
    optimiser, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    seen = []
    for _ in range(10):
        seen.append({group["name"]: group["lr"] for group in optimiser.param_groups})
        optimiser.step()
        schedule.step()
    for step, rates in enumerate(seen):
        factor = rate_at(step, 10, 0.2, "cosine")
        assert rates == pytest.approx({"encoder": 0.01 * factor, "decoder": 0.1 * factor})


def test_norms_and_biases_do_not_decay_and_no_parameter_is_in_two_groups() -> None:
    network = nn.Sequential(nn.Conv3d(1, 2, 1), nn.InstanceNorm3d(2, affine=True), nn.Linear(2, 2))
    network[2].bias.requires_grad_(False)
    parts = {"first": (network[0], 1.0), "all": (network, 0.5)}
    groups = parameter_groups(parts, 0.1, 0.01)
    decays = {id(p): g["weight_decay"] for g in groups for p in g["params"]}  # pyright: ignore
    assert len(decays) == sum(len(g["params"]) for g in groups) == 5  # pyright: ignore
    for p in network.parameters():
        if p.requires_grad:
            assert decays[id(p)] == (0.01 if p.ndim > 1 else 0.0)
    assert [(g["name"], g["lr"]) for g in groups] == [
        ("first", 0.1),
        ("first", 0.1),
        ("all", 0.05),
        ("all", 0.05),
    ]


def test_sgd_is_nesterov() -> None:
    made = configure({"all": (nn.Linear(1, 1), 1.0)}, TrainerSettings(), "sgd")
    assert isinstance(made["optimizer"], torch.optim.SGD)
    assert made["optimizer"].defaults["nesterov"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"steps": 0}, "steps"),
        ({"warmup": 1}, "warmup"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"learning_rat": 1}, "did you mean 'learning_rate'"),
        ({"precision": "16"}, "precision"),
        ({"tracking": {"mode": "loud"}}, "tracking.mode"),
        ({"ema": 1.0}, "ema"),
    ],
)
def test_bad_settings_name_the_key(value: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        validate(TrainerSettings, value)
