"""Computing a part again changes neither gradients nor running statistics."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from hilum.contracts.graph_breaks import captured
from hilum.contracts.host_reads import host_reads, pretended_gpu
from hilum.core.registry import build
from hilum.encoders import ENCODERS
from hilum.encoders.activation_checkpointing import recompute


def net() -> nn.Sequential:
    torch.manual_seed(0)
    part = nn.Sequential(nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4), nn.Dropout(0.5), nn.ReLU(True))
    return nn.Sequential(part, nn.Conv3d(4, 1, 1))


def step(module: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor | None]:
    torch.manual_seed(1)
    module(x).square().sum().backward()
    return {name: p.grad for name, p in module.named_parameters()}


def test_gradients_and_running_statistics_are_the_same() -> None:
    plain, again, x = net(), net(), torch.randn(2, 2, 4, 5, 6)
    recompute([again[0]])
    assert_close(step(again, x), step(plain, x), rtol=0, atol=0)
    assert_close(dict(again.state_dict()), dict(plain.state_dict()), rtol=0, atol=0)
    assert again.get_buffer("0.1.num_batches_tracked") == 1


def test_it_is_computed_twice_with_gradients_and_once_without() -> None:
    module, calls = net(), []
    recompute([module[0]])
    module[0].get_submodule("0").register_forward_hook(lambda *_: calls.append(1))
    x = torch.randn(2, 2, 4, 5, 6)
    step(module, x)
    assert len(calls) == 2
    with torch.no_grad():
        module(x)
    assert len(calls) == 3


def test_a_copy_is_its_own() -> None:
    module = net()
    recompute([module[0]])
    other = copy.deepcopy(module)
    for parameter in other.parameters():
        parameter.data.zero_()
    x = torch.randn(2, 2, 4, 5, 6)
    assert other(x).abs().sum() == 0
    assert module(x).abs().sum() > 0


def small(name: str, again: bool) -> nn.Module:
    torch.manual_seed(0)
    values = {"name": name, **ENCODERS[name].small, "checkpoint_activations": again}
    return build(ENCODERS, values, in_channels=2).train()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resenc", "resnet3d", "vit"])
def test_compiled_parts_are_one_graph_with_the_same_gradients_and_statistics(name: str) -> None:
    """`resnet3d` has batch norms; the tracer's graph of the backward pass runs, without kernels."""
    x, found = torch.randn(2, 2, 32, 32, 32), []
    for again in (False, True):
        encoder = small(name, again)
        with captured([encoder], backend="aot_eager") if again else nullcontext() as seen:
            sum(level.square().mean() for level in encoder(x)).backward()  # pyright: ignore[reportAttributeAccessIssue]
        if seen is not None:
            assert (seen.graphs, seen.breaks) == (1, [])
        gradients = {key: p.grad for key, p in encoder.named_parameters()}
        found.append((gradients, dict(encoder.named_buffers())))
    assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)


def test_it_computes_on_a_pretended_gpu_without_a_read() -> None:
    with pretended_gpu() as move, host_reads() as found:
        maps = move(small("resenc", True))(move(torch.randn(1, 2, 8, 8, 8)))
    assert {x.device.type for x in maps} == {"cuda"}
    assert not found
