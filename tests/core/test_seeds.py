"""Draws depend on the seed and the keys, and on nothing else."""

from __future__ import annotations

import torch

from hilum.core.seeds import derive, numpy_generator, torch_generator

PINNED = 4671492329853038749


def test_the_same_keys_give_the_same_draws() -> None:
    assert numpy_generator(1, "a", 2).random() == numpy_generator(1, "a", 2).random()
    one, two = (torch.rand(3, generator=torch_generator(1, "a")) for _ in range(2))
    assert torch.equal(one, two)


def test_keys_do_not_run_into_each_other() -> None:
    keys = [(0,), (0, 0), (0, "0"), (0, "a", "b"), (0, "ab"), (1,), (0, 1, 2), (0, 12)]
    assert len({derive(*key) for key in keys}) == len(keys)


def test_the_value_is_pinned() -> None:
    """A change here would silently change every run that users want to repeat."""
    assert derive(0, "patch", 3) == PINNED
