"""An adapter changes nothing at first, follows its formula, and can be merged."""

from __future__ import annotations

import torch
from torch import nn
from torch.testing import assert_close

from hilum.encoders.adapters import add_adapters, freeze, merge_adapters


def attention() -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict({"qkv": nn.Linear(4, 12), "fc": nn.Linear(12, 4, bias=False)})


def run(net: nn.ModuleDict, x: torch.Tensor) -> torch.Tensor:
    return net["fc"](net["qkv"](x))


def test_nothing_changes_at_first_and_names_stay() -> None:
    net, x = attention(), torch.randn(3, 4)
    before, names = run(net, x), set(net.state_dict())
    assert add_adapters(net, 2) == ["qkv"]
    assert_close(run(net, x), before, rtol=0, atol=0)
    assert set(net.state_dict()) - names == {"qkv.adapter_down", "qkv.adapter_up"}
    assert names <= set(net.state_dict())


def test_the_formula_by_hand_and_merging() -> None:
    net, x = attention(), torch.randn(3, 4)
    add_adapters(net, 2, alpha=3.0, layers=["qkv", "fc"])
    for parameter in net.parameters():
        parameter.data = torch.randn_like(parameter)
    layer = net["qkv"]
    weight = layer.get_parameter("weight") + 1.5 * (
        layer.get_parameter("adapter_up") @ layer.get_parameter("adapter_down")
    )
    assert_close(layer(x), x @ weight.T + layer.get_parameter("bias"))
    before = run(net, x)
    assert merge_adapters(net) == 2
    assert_close(run(net, x), before)
    assert type(net["qkv"]) is nn.Linear


def test_a_frozen_module_learns_its_adapters() -> None:
    net = attention()
    add_adapters(net, 1)
    freeze(net)
    learning = [name for name, p in net.named_parameters() if p.requires_grad]
    assert learning == ["qkv.adapter_down", "qkv.adapter_up"]


def test_rank_zero_adds_none() -> None:
    assert add_adapters(attention(), 0) == []


def test_without_attention_every_linear_layer_gets_one() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Linear(2, 2), nn.Linear(2, 2))
    assert add_adapters(net, 1) == ["1", "2"]
