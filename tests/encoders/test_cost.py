"""Measured costs are those that can be counted by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hilum.encoders.base import Encoder
from hilum.encoders.cost import measure, patch_for, peak_memory


class OneLayer(Encoder):
    """A convolution of one voxel, whose tensors can be counted."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 3, 1, bias=False)
        self.in_channels, self.channels, self.strides = 2, (3,), ((1, 1, 1),)
        self.stem = ("conv.weight",)

    def forward(self, image: Tensor) -> list[Tensor]:
        return [self.conv(image).relu()]


def test_the_peak_is_counted_by_hand() -> None:
    """Weight, two maps of the pass, the gradient of each output, and the weight's gradient."""
    voxels = 8 * 6 * 10
    found = peak_memory(OneLayer(), torch.zeros(1, 2, 8, 6, 10))
    maps = 4 * 3 * voxels
    weight = 4 * 6
    assert 3 * maps + weight <= found <= 5 * maps + 3 * weight + 4 * 2 * voxels


def test_recomputed_activations_need_less_memory() -> None:
    spec = {
        "name": "vit",
        "width": 24,
        "depth": 8,
        "heads": 2,
        "features": [2, 2, 2],
        "trained": 32,
    }
    plain = measure(spec, repeats=1)
    again = measure({**spec, "checkpoint_activations": True}, repeats=1)
    assert again.memory < plain.memory
    assert plain.step > 0 < plain.forward


def test_the_patch_is_the_smallest_that_fits() -> None:
    assert patch_for(((1, 1, 1), (4, 8, 8))) == (32, 32, 32)
    assert patch_for(((1, 1, 1), (12, 8, 64))) == (36, 32, 64)
    assert patch_for(((1, 1, 1), (32, 32, 32))) == (64, 32, 32)


def test_the_number_of_threads_is_as_before() -> None:
    before = torch.get_num_threads()
    measure({"name": "resenc", "features": [2, 2], "blocks": [1, 1]}, repeats=1)
    assert torch.get_num_threads() == before
