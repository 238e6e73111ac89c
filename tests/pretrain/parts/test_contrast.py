"""NT-Xent is the formula, and keys lie on the unit sphere."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F
from torch.testing import assert_close

from hilum.pretrain.parts.contrast import Projection, nt_xent


def test_nt_xent_by_hand() -> None:
    torch.manual_seed(0)
    one, two = (F.normalize(torch.randn(5, 7), dim=1) for _ in range(2))
    keys, total = torch.cat([one, two]), 0.0
    for i in range(10):
        twin = (i + 5) % 10
        others = sum(math.exp(float(keys[i] @ keys[k]) / 0.3) for k in range(10) if k != i)
        total -= math.log(math.exp(float(keys[i] @ keys[twin]) / 0.3) / others)
    assert_close(nt_xent(one, two, 0.3), torch.tensor(total / 10))


def test_equal_views_of_unlike_samples_are_best() -> None:
    keys = torch.eye(4)
    far = nt_xent(keys, keys, 0.1)
    assert far < nt_xent(keys, keys.flip(0), 0.1)
    assert far < nt_xent(keys[[0, 0, 0, 0]], keys[[0, 0, 0, 0]], 0.1)


def test_keys_are_unit_vectors() -> None:
    found = Projection(6, 3)(torch.randn(5, 6))
    assert_close(found.norm(dim=1), torch.ones(5))
