"""Compiled networks and channels last change how a network computes, not what."""

from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from hilum.core.checkpoints import state_of
from hilum.training import acceleration
from hilum.training.acceleration import accelerate, fused
from hilum.training.optimisation import adamw
from hilum.training.settings import TrainerSettings

EAGER = {"backend": "eager"}
"""Captures graphs as every backend does, without a minute of compiling."""


class Network(nn.Module):
    """Two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Conv3d(2, 8, 3, padding=1), nn.Conv3d(8, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.two(torch.relu(self.one(image)))


class Module(pl.LightningModule):
    """Says what takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Network()

    def networks(self) -> tuple[nn.Module, ...]:
        return (self.network,)


def settings(**values: Any) -> TrainerSettings:
    return TrainerSettings.model_validate(values)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Compile without a compiler, and leave torch as it was."""
    monkeypatch.setattr(acceleration, "MODES", {"on": EAGER})
    torch._dynamo.reset()
    with torch._dynamo.config.patch(recompile_limit=8):
        yield
    torch._dynamo.reset()


def gradients(module: Module, image: Tensor) -> list[Tensor]:
    module.zero_grad()
    module.network(image).square().mean().backward()
    return [p.grad for p in module.parameters() if p.grad is not None]


@pytest.mark.parametrize(
    "choice", [pytest.param({"compile": "on"}, marks=pytest.mark.slow), {"channels_last": True}]
)
def test_results_gradients_and_names_stay(plain: None, choice: dict[str, Any]) -> None:
    image = torch.randn(1, 2, 6, 8, 8)
    before, after = Module(), Module()
    accelerate(after, settings(**choice))
    torch.testing.assert_close(after.network(image), before.network(image))
    torch.testing.assert_close(gradients(after, image), gradients(before, image))
    assert list(after.state_dict()) == list(before.state_dict())
    assert all(
        torch.equal(a, b) for a, b in zip(after.parameters(), before.parameters(), strict=True)
    )


def test_channels_last_holds_for_kernels_but_not_for_what_is_saved() -> None:
    module = Module()
    accelerate(module, settings(channels_last=True))
    kernel = module.network.one.weight
    assert kernel.is_contiguous(memory_format=torch.channels_last_3d)
    assert not kernel.is_contiguous()
    assert all(tensor.is_contiguous() for tensor in state_of(module).values())


class Tokens(pl.LightningModule):
    """Most of its weights are no kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Conv3d(2, 8, 2, 2), nn.Flatten(2), nn.Linear(64, 64))

    def networks(self) -> tuple[nn.Module, ...]:
        return (self.network,)


@pytest.mark.parametrize(
    ("gpu", "asked", "kind", "expected"),
    [
        (True, None, Module, True),
        (True, None, Tokens, False),
        (True, False, Module, False),
        (False, None, Module, False),
        (False, True, Tokens, True),
    ],
)
def test_convolutional_networks_on_a_gpu_get_channels_last_unless_asked_otherwise(
    monkeypatch: pytest.MonkeyPatch, gpu: bool, asked: bool | None, kind: Any, expected: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    module = kind()
    accelerate(module, settings(channels_last=asked))
    [kernel] = [p for p in module.parameters() if p.ndim == 5][:1]
    assert kernel.is_contiguous(memory_format=torch.channels_last_3d) == expected


def test_nothing_is_compiled_unless_asked_for() -> None:
    module = Module()
    accelerate(module, settings())
    assert module.network._compiled_call_impl is None


@pytest.mark.slow
def test_the_number_of_compiled_forms_is_bounded(
    plain: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceleration, "RECOMPILES", 3)
    module = Module()
    accelerate(module, settings(compile="on"))
    torch._dynamo.utils.counters.clear()
    for side in range(4, 12):
        image = torch.randn(1, 2, side, 4, 4)
        torch.testing.assert_close(module.network(image), Network()(image))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 3


def test_a_module_without_networks_is_left_alone() -> None:
    accelerate(pl.LightningModule(), settings(compile="on"))


def test_optimisers_are_fused_where_all_parameters_are_on_a_gpu() -> None:
    assert not fused([torch.zeros(1)])
    assert not fused([])
    groups = [{"params": [nn.Parameter(torch.ones(2))], "lr": 0.1}]
    assert not adamw(groups, 0.1).defaults["fused"]
