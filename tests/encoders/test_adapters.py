"""An adapter changes nothing at first, follows its formula, and can be merged."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from hilum.encoders.adapters import (
    adapt,
    adapted,
    add_adapters,
    freeze,
    merge_adapters,
    takes_adapter,
)


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


PLAIN = {
    "linear": (nn.Linear(6, 5), (2, 6)),
    "conv1d": (nn.Conv1d(3, 5, 3, padding=1), (2, 3, 9)),
    "conv2d": (nn.Conv2d(3, 5, (3, 1), stride=2, bias=False), (2, 3, 9, 8)),
    "conv3d": (nn.Conv3d(3, 5, 3, stride=(1, 2, 2), padding="valid"), (2, 3, 7, 8, 9)),
    "pointwise": (nn.Conv3d(3, 5, 1), (2, 3, 2, 3, 4)),
}


@pytest.mark.parametrize("name", PLAIN)
def test_every_kind_of_layer_agrees_with_peft_and_with_its_merged_self(name: str) -> None:
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    plain, shape = PLAIN[name]
    x, own = torch.randn(shape), copy.deepcopy(plain)
    before = own(x)
    adapt(own, 2, 3.0)
    assert_close(own(x), before, rtol=0, atol=0)
    theirs = nn.Sequential(copy.deepcopy(plain))
    peft.inject_adapter_in_model(peft.LoraConfig(r=2, lora_alpha=3, target_modules=["0"]), theirs)
    for mine, part in (("adapter_down", "lora_A"), ("adapter_up", "lora_B")):
        value = torch.randn_like(own.get_parameter(mine))
        own.get_parameter(mine).data = value
        theirs[0].get_parameter(f"{part}.default.weight").data = value
    expected = theirs(x)
    assert_close(own(x), expected)
    assert merge_adapters(nn.Sequential(own)) == 1
    assert type(own) is type(plain)
    assert own.state_dict().keys() == plain.state_dict().keys()
    assert_close(own(x), expected, rtol=1e-4, atol=1e-4)


def test_a_dilated_convolution_is_what_its_merged_weight_says() -> None:
    """Peft's own layer fails here: it leaves the dilation out."""
    torch.manual_seed(0)
    layer, x = nn.Conv3d(2, 3, 3, padding="same", dilation=2), torch.randn(1, 2, 6, 7, 8)
    adapt(layer, 2, 1.0)
    nn.init.normal_(layer.get_parameter("adapter_up"))
    expected = layer(x)
    merge_adapters(nn.Sequential(layer))
    assert_close(layer(x), expected)


def test_a_layer_of_two_names_gets_one_adapter() -> None:
    layer = nn.Linear(2, 2)
    net = nn.ModuleDict({"qkv": layer, "again": layer})
    add_adapters(net, 1)
    assert net["qkv"] is net["again"]
    assert adapted(net) == [layer]
    assert adapted(net, passing=True) == []
    assert merge_adapters(net) == 1
    assert type(net["again"]) is nn.Linear


def test_what_cannot_be_merged_takes_none() -> None:
    fits = [nn.Conv3d(2, 2, 3), nn.Linear(1, 1)]
    others = [nn.Conv3d(2, 2, 3, groups=2), nn.Conv2d(2, 2, 3, padding_mode="circular")]
    others += [nn.ConvTranspose3d(2, 2, 2), nn.BatchNorm3d(2)]
    assert all(map(takes_adapter, fits))
    assert not any(map(takes_adapter, others))
    layer = nn.Linear(1, 1)
    adapt(layer, 1, 1.0)
    assert not takes_adapter(layer), "once is enough"
