"""Late fusion averages what whole networks say."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from hilum.fusion.late import LateFusion


class Flat(nn.Module):
    """An encoder whose one map is its image."""

    channels = (1,)
    strides = ((1, 1, 1),)

    def forward(self, image: Tensor) -> list[Tensor]:
        return [image]


class First(nn.Module):
    """A decoder that predicts its first map."""

    def forward(self, pyramid: list[Tensor]) -> list[Tensor]:
        return [pyramid[0]]


def late(weights: str) -> LateFusion:
    return LateFusion(
        modalities=("ct", "pet"),
        encoders={"ct": Flat(), "pet": Flat()},
        make_decoder=lambda channels, strides: First(),
        weights=weights,  # pyright: ignore[reportArgumentType]
    )


CT, PET = torch.full((3, 1, 1, 2, 3), 1.0), torch.full((3, 1, 1, 2, 3), 5.0)
AVAILABLE = torch.tensor([[True, True], [True, False], [False, True]])


def test_the_mean_over_available_networks_by_hand() -> None:
    (logits,) = late("mean")({"ct": CT, "pet": PET}, AVAILABLE)
    assert logits[:, 0, 0, 0, 0].tolist() == [3.0, 1.0, 5.0]


def test_learned_weights_start_equal_and_are_renormalised() -> None:
    fusion = late("learned")
    (logits,) = fusion({"ct": CT, "pet": PET}, AVAILABLE)
    assert_close(logits[:, 0, 0, 0, 0], torch.tensor([3.0, 1.0, 5.0]))
    assert fusion.log_weight is not None
    fusion.log_weight.data = torch.tensor([math.log(3.0), 0.0])
    (logits,) = fusion({"ct": CT, "pet": PET}, AVAILABLE)
    assert_close(logits[:, 0, 0, 0, 0], torch.tensor([(3 * 1 + 5) / 4, 1.0, 5.0]))
