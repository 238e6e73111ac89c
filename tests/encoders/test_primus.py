"""Primus is nnU-Net's, key by key, and on other patches what nnU-Net makes of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from dynamic_network_architectures.architectures.primus import Primus, PrimusM
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.encoders.primus import PrimusEncoder

SMALL: dict[str, Any] = {"width": 24, "depth": 3, "heads": 2, "features": [4, 4, 8]}


def reference(sides: tuple[int, int, int]) -> Primus:
    """Return the library's network with every parameter away from its start."""
    torch.manual_seed(0)
    net = Primus(
        2, 24, (8, 8, 8), 3, eva_depth=3, eva_numheads=2, input_shape=sides,
        init_values=0.1, scale_attn_inner=True,
    )  # fmt: skip
    for parameter in net.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return net.eval()


def tokens_of(net: Primus, image: torch.Tensor) -> torch.Tensor:
    embedded = net.down_projection(image)
    tokens, _ = net.eva(embedded.flatten(2).transpose(1, 2))
    return tokens.transpose(1, 2).reshape(embedded.shape)


def ours(net: nn.Module, **settings: Any) -> PrimusEncoder:
    encoder = PrimusEncoder(in_channels=2, **SMALL, **settings).eval()
    state = {k: v for k, v in net.state_dict().items() if k.split(".")[0] in encoder.inner}
    encoder.inner.load_state_dict(state, strict=True)
    return encoder


def test_weights_of_nnssls_network_load_and_give_its_tokens() -> None:
    sides = (16, 32, 24)
    net = reference(sides)
    image = torch.randn(2, 2, *sides)
    got = ours(net, trained=sides)(image)[-1]
    assert_close(got, tokens_of(net, image), rtol=0, atol=0)


def test_another_patch_gives_what_a_network_rebuilt_for_it_gives() -> None:
    """As in nnU-Net's loading: a network for the new patch, positions interpolated trilinearly."""
    net, rebuilt = reference((16, 32, 24)), reference((24, 16, 32))
    assert net.eva.pos_embed is not None
    volume = net.eva.pos_embed.reshape(1, 2, 4, 3, 24).permute(0, 4, 1, 2, 3)
    places = F.interpolate(volume, (3, 2, 4), mode="trilinear", align_corners=False)
    state = net.state_dict() | {"eva.pos_embed": places.flatten(2).transpose(1, 2)}
    rebuilt.load_state_dict(state, strict=True)
    image = torch.randn(1, 2, 24, 16, 32)
    got = ours(net, trained=(16, 32, 24))(image)[-1]
    assert_close(got, tokens_of(rebuilt, image), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_medium_has_the_names_and_shapes_of_primus_m() -> None:
    with torch.device("meta"):
        theirs = PrimusM(1, 2, (8, 8, 8), (160, 160, 160))
        encoder = PrimusEncoder(in_channels=1, size="medium", trained=160)
    expected = {k: v.shape for k, v in theirs.state_dict().items() if not k.startswith("up_")}
    expected.pop("mask_token")
    assert {k: v.shape for k, v in encoder.inner.state_dict().items()} == expected


def test_a_finer_level_comes_from_an_earlier_block() -> None:
    encoder = PrimusEncoder(in_channels=1, **{**SMALL, "depth": 6}, trained=16).eval()
    image = torch.randn(1, 1, 16, 16, 16)
    before = encoder(image)
    encoder.inner["eva"].blocks[5].mlp.fc2.weight.data += 1  # pyright: ignore
    after = encoder(image)
    for level in range(3):
        assert_close(before[level], after[level], rtol=0, atol=0)
    assert not torch.equal(before[3], after[3])


def test_tokens_may_differ_by_axis() -> None:
    encoder = PrimusEncoder(in_channels=1, **SMALL, token=[4, 8, 8], trained=[16, 32, 32])
    assert encoder.strides == ((1, 1, 1), (1, 2, 2), (2, 4, 4), (4, 8, 8))
    assert encoder(torch.randn(1, 1, 8, 16, 24))[-1].shape == (1, 24, 2, 2, 3)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"size": "lage"}, "unknown size 'lage', did you mean 'large'"),
        ({"heads": 3}, "into multiples of 6, found 3 heads, width 24"),
        ({"token": 6}, "1, 2, 4, 8 or 16 voxels"),
        ({"trained": 30}, "trained sides must be divisible by token"),
        ({"features": [4]}, "features must name the 3 levels"),
    ],
)
def test_bad_parameters_are_refused(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        PrimusEncoder(in_channels=1, **{**SMALL, **bad})
