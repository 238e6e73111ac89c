"""Strategies trained on pairs with a known shift: looking elsewhere finds what averaging cannot."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hilum.fusion.deformable import DeformableFusion
from hilum.fusion.mean import MeanFusion

SHIFT = 2
"""Voxels along the width by which the PET of every pair is off."""


class Pointwise(nn.Module):
    """An encoder that sees one voxel at a time: it cannot undo a shift by itself."""

    channels, strides = (4,), ((1, 1, 1),)

    def __init__(self) -> None:
        super().__init__()
        self.lift = nn.Conv3d(1, 4, 1)

    def forward(self, image: Tensor) -> list[Tensor]:
        return [self.lift(image)]


class Readout(nn.Module):
    """A decoder that sees one voxel at a time, too."""

    def __init__(self, channels: Any, strides: Any) -> None:
        super().__init__()
        self.out = nn.Conv3d(channels[0], 1, 1)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return [self.out(maps[0])]


def pairs(generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
    """Return a smooth PET that lies `SHIFT` voxels off, a CT without a hint, and the truth."""
    noise = torch.randn(2, 1, 6, 8, 20, generator=generator)
    smooth = F.avg_pool3d(F.pad(noise, (3, 3, 0, 0, 0, 0)), (1, 1, 7), 1) * 3
    ct = torch.randn(2, 1, 6, 8, 20, generator=generator)
    return {"ct": ct, "pet": torch.roll(smooth, SHIFT, -1)}, smooth


def error(strategy: Any, generator: torch.Generator) -> Tensor:
    volumes, truth = pairs(generator)
    found = strategy(volumes, torch.ones(2, 2, dtype=torch.bool))[0]
    inner = (..., slice(4, -4))  # what was rolled over the border does not count
    return F.mse_loss(found[inner], truth[inner]) / truth[inner].var()


def trained(cls: Any, **parameters: Any) -> tuple[Any, float]:
    """Return a strategy trained on shifted pairs, and the variance of new ones left unexplained."""
    torch.manual_seed(0)
    strategy = cls(
        modalities=("ct", "pet"), encoders={m: Pointwise() for m in ("ct", "pet")},
        make_decoder=Readout, **parameters,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    optimiser = torch.optim.Adam(strategy.parameters(), 0.03)
    for _ in range(150):
        optimiser.zero_grad()
        error(strategy, generator).backward()
        optimiser.step()
    with torch.no_grad():
        return strategy, float(error(strategy, torch.Generator().manual_seed(2)))


@pytest.mark.slow
def test_learned_offsets_undo_a_shift_that_a_mean_cannot() -> None:
    _, plain = trained(MeanFusion)
    strategy, left = trained(DeformableFusion, heads=2, min_stride=1, reach=4.0)
    assert plain > 0.3
    assert left < plain / 3
    volumes, _ = pairs(torch.Generator().manual_seed(3))
    with torch.no_grad():
        found = strategy.insight(volumes, torch.ones(2, 2, dtype=torch.bool))["offset_ct"]
    assert abs(float(found.median()) - SHIFT) < 0.7
