"""A network that has learned nothing predicts each class as often as it was told to expect it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from hilum.core.registry import build
from hilum.encoders import ENCODERS
from hilum.encoders.decoders import DECODERS

ENCODER_OF: dict[str, dict[str, Any]] = {
    "pyramid": {"name": "resenc", "features": [4, 8], "blocks": [1, 1]},
    "linear": {"name": "resenc", "features": [4, 8], "blocks": [1, 1]},
    "nnunet": {"name": "resenc", "features": [4, 8], "blocks": [1, 1]},
    "stunet": {"name": "stunet", "features": [4, 8], "blocks": [1, 1]},
    "swin_unetr": {
        "name": "swin",
        "width": 12,
        "blocks": [2] * 4,
        "heads": [3, 6, 12, 24],
        "fine": "block",
    },
    "unet3d": {"name": "unet3d", "features": 4},
    "segresnet": {"name": "segresnet", "filters": 8, "blocks": [1, 1]},
    "segresnet_ds": {"name": "segresnet", "filters": 8, "blocks": [1, 1]},
}


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", list(DECODERS))
def test_heads_without_weights_predict_the_share_of_every_class(name: str, classes: int) -> None:
    encoder = build(ENCODERS, ENCODER_OF[name], in_channels=1)
    options = {"channels": encoder.channels, "strides": encoder.strides, "classes": classes}
    decoder = build(DECODERS, {"name": name}, **options, prior=0.03)
    with torch.no_grad():
        for head in decoder.head_rows():
            for rows in head.values():
                if rows.ndim > 1:
                    rows.zero_()
        outputs = decoder.eval()(encoder.eval()(torch.randn(1, 1, 64, 32, 32)))
    assert outputs
    for output in outputs:
        share = output.float().softmax(1)
        assert_close(share[:, 1:], torch.full_like(share[:, 1:], 0.03))
