"""The Swin encoder is Swin UNETR's `swinViT`, key by key and bit by bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.networks.nets.swin_unetr import SwinUNETR
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.encoders.swin import SwinEncoder


@pytest.mark.parametrize("v2", [False, True])
def test_weights_of_swin_unetr_load_and_give_its_features(v2: bool) -> None:
    torch.manual_seed(0)
    net = SwinUNETR(2, 3, feature_size=12, depths=(1, 2, 1, 1), use_v2=v2).eval()
    encoder = SwinEncoder(
        in_channels=2, width=12, blocks=(1, 2, 1, 1), heads=(3, 6, 12, 24), v2=v2
    ).eval()
    encoder.inner.load_state_dict(net.swinViT.state_dict(), strict=True)
    image = torch.randn(1, 2, 64, 32, 64)
    with torch.no_grad():
        for got, want in zip(encoder(image)[1:], net.swinViT(image), strict=True):
            assert_close(got, want, rtol=0, atol=0)


def test_base_has_the_names_and_shapes_of_published_weights() -> None:
    with torch.device("cpu"):
        theirs = SwinUNETR(1, 2, feature_size=48).swinViT.state_dict()
    state = SwinEncoder(in_channels=1, size="base").inner.state_dict()
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in theirs.items()}


def test_fewer_stages_leave_no_idle_parameter() -> None:
    encoder = SwinEncoder(
        in_channels=1, width=4, blocks=[1, 1], heads=[1, 2], fine=0, token=[1, 2, 2]
    )
    assert encoder.strides == ((1, 2, 2), (2, 4, 4), (4, 8, 8))
    maps = encoder(torch.randn(1, 1, 8, 16, 24))
    sum((x * torch.randn_like(x)).sum() for x in maps).backward()  # pyright: ignore
    assert all(parameter.grad is not None for parameter in encoder.parameters())


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"heads": [4]}, "one entry for each of one to four stages"),
        ({"blocks": [2] * 5, "heads": [2] * 5}, "one to four stages"),
        ({"width": 10}, "heads must divide the width of their stage, found 4 heads, width 10"),
        ({"token": 4}, "sides of 1 or 2 voxels"),
        ({"token": 1}, "fine must be 0 with tokens of one voxel"),
    ],
)
def test_bad_parameters_are_refused(bad: dict[str, Any], message: str) -> None:
    own: dict[str, Any] = {"width": 8, "blocks": [1, 1], "heads": [4, 4]}
    with pytest.raises(SettingsError, match=message):
        SwinEncoder(in_channels=1, **{**own, **bad})
