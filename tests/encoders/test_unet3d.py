"""What is this encoder's own; tests/exchange compares it with its source."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from hilum.encoders.unet3d import Unet3DEncoder


def test_a_sample_does_not_depend_on_its_mates() -> None:
    torch.manual_seed(0)
    encoder = Unet3DEncoder(in_channels=2, features=4).train()
    x = torch.randn(3, 2, 16, 24, 32)
    together = encoder(x)
    for row in range(3):
        for ours, alone in zip(together, encoder(x[row : row + 1]), strict=True):
            assert_close(ours[row : row + 1], alone)


def test_a_level_begins_at_the_largest_of_eight_voxels() -> None:
    torch.manual_seed(0)
    encoder = Unet3DEncoder(in_channels=1, features=4)
    first, second, *_ = encoder(torch.randn(1, 1, 16, 16, 16))
    cubes = first.unfold(2, 2, 2).unfold(3, 2, 2).unfold(4, 2, 2).flatten(5).amax(-1)
    assert_close(second, encoder.inner.get_submodule("down_tr128.ops")(cubes))
