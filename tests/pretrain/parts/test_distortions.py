"""Distortions change what they say and nothing else."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from hilum.core.seeds import numpy_generator, torch_generator
from hilum.pretrain.parts.distortions import bend, boxes, shuffle, unit_scale


def test_the_ends_of_a_window_become_0_and_1() -> None:
    x = torch.tensor([-2.0, -1.0, 0.0, 1.0, 3.0])
    assert unit_scale(x, -1, 1).tolist() == [0, 0, 0.5, 1, 1]


def test_a_bent_tone_depends_on_the_tone_alone_and_keeps_or_turns_the_order() -> None:
    x = torch.linspace(0, 1, 101)
    turned = 0
    for seed in range(40):
        y = bend(x, torch_generator(seed, "x"))
        steps = y.diff()
        assert (steps >= -1e-6).all() or (steps <= 1e-6).all()
        assert_close(y.min(), torch.tensor(0.0), atol=1e-6, rtol=0)
        assert_close(y.max(), torch.tensor(1.0), atol=1e-6, rtol=0)
        assert_close(bend(x[[7, 3]], torch_generator(seed, "x")), y[[7, 3]])
        turned += bool(y[0] > y[-1])
    assert 10 < turned < 30


def test_shuffling_moves_voxels_inside_of_blocks() -> None:
    x = torch.arange(8 * 12 * 8, dtype=torch.float32).view(8, 12, 8)
    mixed = shuffle(x, (4, 3, 2), 1.0, torch_generator(0, "x"), numpy_generator(0, "x"))
    assert not torch.equal(mixed, x)
    assert torch.equal(mixed.flatten().sort().values, x.flatten())
    place = torch.stack(torch.meshgrid(*(torch.arange(n) for n in x.shape), indexing="ij"))
    came = torch.stack([mixed // 96, mixed // 8 % 12, mixed % 8])
    assert ((came - place).abs() < torch.tensor([4, 3, 2]).view(3, 1, 1, 1)).all()
    assert torch.equal(
        shuffle(x, (4, 3, 2), 0.0, torch_generator(0, "x"), numpy_generator(0, "x")), x
    )
    assert torch.equal(
        shuffle(x, (16, 3, 2), 1.0, torch_generator(0, "x"), numpy_generator(0, "x")), x
    )


def test_boxes_have_the_sides_that_were_asked_for() -> None:
    for seed in range(10):
        one = boxes((10, 20, 30), 1, 0.2, 0.4, torch_generator(seed, "x"))
        for axis, side in enumerate((10, 20, 30)):
            along = one.movedim(axis, 0)
            length = int(along.flatten(1).any(1).sum())
            assert 0.2 * side <= length <= 0.4 * side
