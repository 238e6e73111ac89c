"""Windows tile a map, come back as they were, and know what lies around them."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from hilum.fusion.windows import around, join, split, window_of


@pytest.mark.parametrize(
    ("sides", "most", "window"),
    [
        ((20, 20, 20), 4096, (10, 20, 20)),
        ((4, 6, 8), 1000, (4, 6, 8)),
        ((2, 3, 4), 12, (2, 3, 2)),
        ((19, 19, 19), 4096, (1, 19, 19)),
        ((15, 21, 9), 1000, (15, 7, 9)),
        ((5, 7, 3), 1, (1, 1, 1)),
    ],
)
def test_windows_tile_the_grid_and_never_exceed_the_limit(
    sides: tuple[int, int, int], most: int, window: tuple[int, int, int]
) -> None:
    found = window_of(sides, most)
    assert all(side % part == 0 for side, part in zip(sides, found, strict=True))
    assert found[0] * found[1] * found[2] <= most
    assert found == window


def test_joined_windows_are_the_map() -> None:
    x = torch.randn(2, 3, 4, 6, 8)
    for window in ((4, 6, 8), (2, 3, 4), (1, 6, 2)):
        assert_close(join(split(x, window), window, x.shape), x, rtol=0, atol=0)


def test_a_window_with_its_halo_by_hand() -> None:
    x = torch.arange(2 * 8, dtype=torch.float32).view(1, 1, 2, 1, 8)
    tokens, inside = around(x, (2, 1, 4), 1)
    assert inside.tolist() == [[False, *[True] * 5] * 2, [*[True] * 5, False] * 2]
    assert tokens[0, inside[0], 0].tolist() == [0, 1, 2, 3, 4, 8, 9, 10, 11, 12]
    assert tokens[1, inside[1], 0].tolist() == [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]
