"""A label of mixtures says of each voxel what share of the raters said what."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.core.errors import DataError
from hilum.datasets.raters.shares import FIRST, shares_of, table_of


def test_the_table_gives_back_the_mean_of_the_answers() -> None:
    draw = np.random.default_rng(0)
    masks = draw.choice(np.array([0, 1, 2, 255], np.uint8), (5, 4, 6, 7), p=[0.5, 0.3, 0.15, 0.05])
    masks[:, 0, 0, 0] = 255
    masks[:, 0, 0, 1] = 2
    label, shares = shares_of(masks)
    assert label[0, 0, 0] == 255
    assert label[0, 0, 1] == 2
    known = label != 255
    said = np.stack([masks == c for c in range(3)], -1)
    voters = (masks != 255).sum(0)
    mean = said.sum(0) / np.maximum(voters, 1)[..., None]
    np.testing.assert_array_equal(voters[~known], 0)
    np.testing.assert_allclose(table_of(shares, 3)[label][known], mean[known], atol=1e-6)
    # Where all agree the number is the class itself.
    agree = known & (mean.max(-1) == 1)
    np.testing.assert_array_equal(label[agree], mean.argmax(-1)[agree])
    assert (label[known & ~agree] >= FIRST).all()


def test_raters_who_agree_need_no_mixtures() -> None:
    masks = np.repeat(np.random.default_rng(1).integers(0, 3, (1, 4, 4, 4)), 3, 0).astype(np.uint8)
    label, shares = shares_of(masks)
    np.testing.assert_array_equal(label, masks[0])
    assert shares == []


def test_more_mixtures_than_numbers_are_refused() -> None:
    masks = np.random.default_rng(2).integers(0, 21, (6, 20, 20, 20)).astype(np.uint8)
    with pytest.raises(DataError, match=r"raters may differ in at most 233 ways.*raters=staple"):
        shares_of(masks, "a")
