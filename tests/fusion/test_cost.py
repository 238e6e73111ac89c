"""Costs are those of the formula, and counting them leaves no trace."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from hilum.core.memory import Storages
from hilum.encoders.decoders.pyramid import PyramidDecoder
from hilum.encoders.resenc import ResencEncoder
from hilum.fusion.cost import cost, memory, seconds
from hilum.fusion.cross_attention import CrossAttentionFusion
from hilum.fusion.late import LateFusion
from hilum.fusion.single import SingleFusion

PATCH = (4, 8, 6)
VOXELS = 4 * 8 * 6


def encoder() -> ResencEncoder:
    return ResencEncoder(in_channels=1, features=[4, 8], blocks=[1, 1])


def decoder(channels: object, strides: object) -> PyramidDecoder:
    return PyramidDecoder((4, 8), ((1, 1, 1), (2, 2, 2)), 2)


def single() -> SingleFusion:
    return SingleFusion(
        modalities=("ct", "pet"),
        encoders={"ct": encoder()},
        make_decoder=decoder,
        modality="ct",
    )


def test_a_network_by_hand() -> None:
    """Every convolution: two operations per weight and output voxel."""
    coarse = VOXELS // 8
    first = 27 * 1 * 4 * VOXELS + 2 * 27 * 4 * 4 * VOXELS  # stem, then a block of two
    second = 27 * 4 * 8 * coarse + 27 * 8 * 8 * coarse + 4 * 8 * coarse  # and its 1x1x1 skip
    up = 8 * 4 * VOXELS + 27 * 8 * 4 * VOXELS + 4 * 2 * VOXELS  # transposed, join, head
    found = cost(single(), PATCH)
    assert found.flops == 2 * (first + second + up)
    assert found.parameters == sum(p.numel() for p in single().parameters())


def test_late_fusion_costs_two_networks() -> None:
    late = LateFusion(
        modalities=("ct", "pet"),
        encoders={"ct": encoder(), "pet": encoder()},
        make_decoder=decoder,
    )
    one, two = cost(single(), PATCH), cost(late, PATCH)
    assert two[:2] == (2 * one.parameters, 2 * one.flops)
    assert one.memory < two.memory <= 2 * one.memory


def test_attention_is_counted() -> None:
    """Per token and direction: 2C^2 for query and output, 2C^2 for the memory, 2NC to attend."""

    def fused(min_stride: int) -> CrossAttentionFusion:
        return CrossAttentionFusion(
            modalities=("ct", "pet"),
            encoders={"ct": encoder(), "pet": encoder()},
            make_decoder=decoder,
            heads=2,
            min_stride=min_stride,
        )

    tokens, channels = VOXELS // 8, 8
    more = cost(fused(2), PATCH).flops - cost(fused(99), PATCH).flops
    assert more == 2 * 2 * tokens * (4 * channels**2 + 2 * tokens * channels)


def test_counting_leaves_weights_modes_and_gradients_alone() -> None:
    network = single()
    network.decoder.eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    cost(network, PATCH)
    assert network.training
    assert not network.decoder.training
    assert all(parameter.grad is None for parameter in network.parameters())
    for key, value in network.state_dict().items():
        assert_close(value, before[key], rtol=0, atol=0)
    assert torch.is_grad_enabled()


def test_memory_is_that_of_the_real_step() -> None:
    network = single()
    with Storages(network) as storages:
        x = torch.zeros((1, 1, *PATCH))
        logits = network({"ct": x, "pet": x}, torch.ones((1, 2), dtype=torch.bool))
        torch.autograd.backward(logits, [torch.ones_like(level) for level in logits])
    found = cost(single(), PATCH).memory
    assert abs(found / storages.peak - 1) < 0.1
    assert memory(network, PATCH) == found
    assert all(p.device.type == "cpu" for p in network.parameters())


def test_a_step_takes_longer_than_a_forward_pass() -> None:
    took = seconds(single(), (16, 32, 32))
    assert 0 < took.forward < took.step
