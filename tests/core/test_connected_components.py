"""Components of sparse masks are found from runs of foreground, with scipy's numbers."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from scipy import ndimage

from hilum.core import connected_components as module
from hilum.core.connected_components import components

SHAPES = [(1, 1, 1), (1, 5, 7), (6, 1, 9), (5, 7, 1), (7, 8, 9)]


def scipy_labels(mask: np.ndarray, rank: int) -> tuple[np.ndarray, int]:
    labels, count = ndimage.label(mask, ndimage.generate_binary_structure(3, rank))  # pyright: ignore
    return labels, count


@pytest.mark.parametrize(("neighbours", "rank"), [(6, 1), (18, 2), (26, 3)])
@pytest.mark.parametrize("limit", [0.0, 2.0])
def test_numbers_are_those_of_scipy(
    neighbours: Literal[6, 18, 26], rank: int, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SPARSE", limit)
    draw = np.random.default_rng(0)
    for shape in SHAPES:
        for share in (0, 0.05, 0.2, 0.5, 0.9, 1):
            mask = draw.random(shape) < share
            labels, count = components(mask, neighbours)
            expected, number = scipy_labels(mask, rank)
            assert count == number
            assert labels.dtype == np.int32
            np.testing.assert_array_equal(labels, expected)


def test_rows_do_not_touch_over_the_border() -> None:
    mask = np.zeros((2, 3, 4), bool)
    mask[0, 0, 3] = mask[0, 1, 0] = mask[0, 2, 3] = True
    assert components(mask)[1] == 3
