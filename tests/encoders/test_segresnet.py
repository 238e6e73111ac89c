"""The encoder is that of MONAI's SegResNetDS, weight for weight."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets.segresnet_ds import SegResNetDS
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.encoders.segresnet import SegresnetEncoder


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_weights_of_monais_network_load_and_give_its_features(norm: str) -> None:
    torch.manual_seed(0)
    theirs = SegResNetDS(in_channels=2, init_filters=8, blocks_down=(1, 1, 1), norm=norm)
    ours = SegresnetEncoder(in_channels=2, filters=8, blocks=(1, 1, 1), norm=norm)
    ours.inner.load_state_dict(theirs.encoder.state_dict(), strict=True)
    x = torch.randn(1, 2, 4, 8, 12)
    for got, want in zip(ours(x), theirs.encoder(x), strict=True):
        assert_close(got, want)


def test_an_unknown_norm_is_named() -> None:
    with pytest.raises(SettingsError, match=r"instance, batch, group.*'layer'"):
        SegresnetEncoder(in_channels=1, norm="layer")
