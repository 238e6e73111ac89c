"""Adapters of a fine-tuning are merged; those that an encoder is made with stay."""

from __future__ import annotations

import torch
from torch import nn

from hilum.encoders import adapters as lasting
from hilum.segmenter.adapters import add_adapters, has_adapters, merged


def test_only_the_adapters_of_the_fine_tuning_train_and_are_merged() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    lasting.adapt(net[0], 1, 1.0)
    assert not has_adapters(net)
    x = torch.randn(5, 3)
    assert add_adapters(net, [(net, x)], 2, 4.0) == ["1"]
    assert has_adapters(net)
    learning = [name for name, p in net.named_parameters() if p.requires_grad]
    assert learning == ["1.adapter_down", "1.adapter_up"]
    for name in ("0.adapter_up", "1.adapter_up"):
        nn.init.normal_(net.get_parameter(name))
    plain = merged(net)
    assert not has_adapters(plain)
    assert has_adapters(net), "the copy alone is merged"
    assert set(plain.state_dict()) - {"0.adapter_down", "0.adapter_up"} == {
        f"{layer}.{kind}" for layer in (0, 1) for kind in ("weight", "bias")
    }
    torch.testing.assert_close(plain(x), net(x))
