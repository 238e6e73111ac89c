"""Sharding changes nothing but where weights lie: checked in a group of one process."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor

from hilum.training.fsdp import gathered, like, shard, touch, whole, whole_state
from hilum.training.processes import strategy

from .toy import trainer_settings


class Two(nn.Module):
    """Uses one of its layers only."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = nn.Linear(3, 2), nn.Linear(3, 2)

    def step(self, x: Tensor) -> Tensor:
        return touch(self, self.used(x).square().mean())


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceMesh]:
    store = f"file://{tmp_path_factory.mktemp('group') / 'store'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


@pytest.fixture
def pair(mesh: DeviceMesh) -> tuple[Two, Two]:
    """Return a network, and the same divided."""
    torch.manual_seed(0)
    plain = Two()
    divided = copy.deepcopy(plain)
    shard(divided, mesh, "step")
    return plain, divided


def test_steps_have_the_same_loss_and_gradients(pair: tuple[Two, Two]) -> None:
    x = torch.randn(4, 3)
    losses = [network.step(x) for network in pair]
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    for one, other in zip(pair[0].parameters(), pair[1].parameters(), strict=True):
        assert isinstance(other.grad, DTensor)
        assert one.grad is not None
        assert torch.equal(one.grad, whole(other.grad))


def test_what_the_loss_leaves_out_gets_a_gradient_of_zero() -> None:
    network, x = Two(), torch.randn(4, 3)
    loss = network.step(x)
    assert torch.equal(loss, network.used(x).square().mean())
    loss.backward()
    assert network.idle.weight.grad is not None
    assert not network.idle.weight.grad.any()


def test_weights_are_whole_inside_the_block_only(pair: tuple[Two, Two]) -> None:
    plain, divided = pair
    with gathered(divided):
        assert torch.equal(divided.used(torch.ones(1, 3)), plain.used(torch.ones(1, 3)))
        assert not isinstance(divided.used.weight, DTensor)
    assert isinstance(divided.used.weight, DTensor)
    with gathered(plain):
        pass


def test_the_whole_state_is_the_one_before(pair: tuple[Two, Two]) -> None:
    plain, divided = pair
    state = whole_state(divided)
    assert state.keys() == plain.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in plain.state_dict().items())


def test_tensors_are_divided_like_others_and_back(pair: tuple[Two, Two]) -> None:
    plain, divided = pair
    values = torch.randn(2, 3)
    made = like(values, divided.used.weight)
    assert isinstance(made, DTensor)
    assert torch.equal(whole(made), values)
    assert torch.equal(like(made, plain.used.weight), values)


def test_fsdp_is_chosen_by_name_and_only_for_several_processes() -> None:
    assert strategy(trainer_settings(strategy="fsdp")) == "auto"
    chosen = strategy(trainer_settings(devices=2, strategy="fsdp"))
    assert isinstance(chosen, ModelParallelStrategy)
