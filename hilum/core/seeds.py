"""Randomness as a pure function: the same seed and the same keys give the same draws.

Nothing in hilum keeps a random state across steps. Every draw is made from a generator that is
derived from the seed of the run and from what is drawn (`"patch", step, position`), so a resumed
run, another number of workers, or another order of cells cannot change it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive(seed: int, *keys: str | int) -> int:
    """Return a 63-bit seed that depends on all arguments and on nothing else.

    Examples:
        >>> derive(0, "patch", 3) == derive(0, "patch", 3)
        True
        >>> derive(0, "patch", 3) == derive(0, "patch", 4)
        False
    """
    text = "\x1f".join([str(seed), *(f"{type(key).__name__}:{key}" for key in keys)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def numpy_generator(seed: int, *keys: str | int) -> np.random.Generator:
    """Return a numpy generator for these keys."""
    return np.random.default_rng(derive(seed, *keys))


def torch_generator(seed: int, *keys: str | int, device: str = "cpu") -> torch.Generator:
    """Return a torch generator for these keys."""
    import torch

    return torch.Generator(device).manual_seed(derive(seed, *keys))
