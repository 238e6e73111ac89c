"""The encoder is that of MONAI's MedNeXt, weight for weight."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.networks.nets.mednext import MedNeXtSmall
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.encoders.mednext import MednextEncoder


def test_weights_of_monais_network_load_and_give_its_features() -> None:
    torch.manual_seed(0)
    net = MedNeXtSmall(in_channels=2, kernel_size=3).eval()
    encoder = MednextEncoder(in_channels=2, size="small").eval()
    own = encoder.inner.state_dict()
    encoder.inner.load_state_dict({k: net.state_dict()[k] for k in own}, strict=True)
    seen: list[torch.Tensor] = []
    for part in (*net.enc_stages, net.bottleneck):
        part.register_forward_hook(lambda *given: seen.append(given[2]))
    image = torch.randn(1, 2, 16, 32, 16)
    with torch.no_grad():
        net(image)
        maps = encoder(image)
    for got, want in zip(maps, seen, strict=True):
        assert_close(got, want, rtol=0, atol=0)


def test_strides_may_differ_by_axis() -> None:
    encoder = MednextEncoder(
        in_channels=1, width=4, blocks=[1] * 3, expansion=[2] * 3, strides=[[1, 2, 2], 2]
    )
    assert encoder.strides == ((1, 1, 1), (1, 2, 2), (2, 4, 4))
    assert encoder(torch.randn(1, 1, 4, 8, 12))[-1].shape == (1, 16, 2, 2, 3)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"size": "larg"}, "did you mean 'large'"),
        ({"blocks": [1, 1]}, "found 2, 4 and 1 entries; give all three"),
        ({"strides": [2, 2, 3]}, "and strides 1 or 2"),
        ({"kernel": 4}, "kernel must be odd, found 4"),
    ],
)
def test_bad_parameters_are_refused(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        MednextEncoder(in_channels=1, **bad)
