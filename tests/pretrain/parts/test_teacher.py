"""A teacher is the running average of its student and never learns by itself."""

from __future__ import annotations

import torch
from torch import nn
from torch.testing import assert_close

from hilum.pretrain.parts.teacher import Teacher, momentum_at


def student() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_it_begins_as_a_copy_and_follows_by_its_momentum() -> None:
    network = student()
    teacher = Teacher(network)
    before = {name: p.clone() for name, p in teacher.network.named_parameters()}
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 1
    network(torch.randn(8, 3))
    teacher.follow(network, 0.9)
    for name, parameter in teacher.network.named_parameters():
        assert_close(parameter.detach(), 0.9 * before[name] + 0.1 * (before[name] + 1))
    assert_close(teacher.network.state_dict()["1.running_mean"], network[1].running_mean)  # pyright: ignore


def test_it_has_no_gradient_and_is_in_the_state() -> None:
    network = student()
    teacher = Teacher(network)
    out = teacher(torch.randn(4, 3, requires_grad=True))
    assert not out.requires_grad  # pyright: ignore[reportAttributeAccessIssue]
    assert not any(p.requires_grad for p in teacher.parameters())
    assert len(teacher.state_dict()) == len(network.state_dict())
    assert all(p.requires_grad for p in network.parameters())


def test_the_momentum_rises_to_1_on_half_a_cosine() -> None:
    found = [momentum_at(step, 100, 0.9) for step in range(101)]
    assert found == sorted(found)
    assert_close(torch.tensor([found[0], found[50], found[100]]), torch.tensor([0.9, 0.95, 1.0]))
