"""Windows cover a volume, and slabs equal what other libraries make of all of it."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from monai.data.utils import compute_importance_map
from monai.inferers.utils import sliding_window_inference
from torch import Tensor
from torch.testing import assert_close

from hilum.core.geometry import IntTriple
from hilum.segmenter.inference.sliding_window import Sweep, importance, starts, sweep


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize(("side", "window"), [(16, 16), (17, 16), (100, 16), (31, 5)])
def test_starts_cover_an_axis_and_keep_the_overlap(side: int, window: int, overlap: float) -> None:
    found = starts(side, window, overlap)
    assert found[0] == 0
    assert found[-1] == side - window
    steps = [b - a for a, b in pairwise(found)]
    assert all(0 < step <= max(window * (1 - overlap) + 1, 1) for step in steps)


def test_starts_equal_those_of_nnunet() -> None:
    reference = pytest.importorskip("nnunetv2.inference.sliding_window_prediction")
    for side, window in ((160, 96), (97, 96), (200, 64), (33, 16)):
        (expected,) = reference.compute_steps_for_sliding_window((side,), (window,), 0.5)
        assert starts(side, window, 0.5) == expected


def test_importance_equals_that_of_monai() -> None:
    expected = compute_importance_map((8, 12, 20), mode="gaussian", sigma_scale=0.125)
    assert_close(importance((8, 12, 20)), expected)


def smear(batch: Tensor) -> Tensor:
    """Return something that depends on where in the window a voxel is."""
    ramp = torch.linspace(0.5, 1.5, batch.shape[2])[:, None, None]
    return torch.cat(
        [
            batch[:, :1] * ramp,
            batch.roll(1, 4)[:, 1:2],
            batch.sum((2, 3, 4), True)[:, :1] + 0 * batch[:, :1],
        ],
        1,
    )


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("sides", [(24, 16, 20), (8, 24, 10), (40, 8, 30)])
def test_slabs_equal_monais_sliding_window(sides: IntTriple, batch: int) -> None:
    # Sides at which both put windows at the same places.
    torch.manual_seed(0)
    window = (8, 8, 10)
    image = torch.rand(2, *sides)
    plan = Sweep(sides, window, 0.5, batch)
    seen = []
    result = torch.full((3, *sides), torch.nan)
    for rows, values in sweep(plan, lambda a, b: image[:, a:b].clone(), smear, [0, 0, 0]):
        seen.extend(range(rows.start, rows.stop))
        result[:, rows] = values
    assert seen == list(range(sides[0]))
    expected = sliding_window_inference(image[None], window, 1, smear, overlap=0.5, mode="gaussian")
    assert_close(result, expected[0], atol=1e-4, rtol=1e-4)  # pyright: ignore[reportArgumentType]


def test_each_row_is_read_once_and_only_a_windows_rows_are_held() -> None:
    read: list[int] = []

    def rows_of(start: int, stop: int) -> Tensor:
        read.extend(range(start, stop))
        return torch.zeros(1, stop - start, 9, 9)

    longest = 0
    for rows, _ in sweep(Sweep((50, 9, 9), (8, 4, 4), 0.3), rows_of, lambda x: x, [0.0]):
        longest = max(longest, rows.stop - rows.start)
    assert read == list(range(50))
    assert longest <= 8


def test_places_that_are_not_wanted_hold_what_was_said() -> None:
    calls: list[int] = []

    def network(batch: Tensor) -> Tensor:
        calls.append(len(batch))
        return torch.cat([batch, batch], 1)

    plan = Sweep((8, 4, 4), (4, 4, 4), 0.0, wanted=lambda place: place[0] == 4)
    found = [
        v.clone() for _, v in sweep(plan, lambda a, b: torch.ones(1, b - a, 4, 4), network, [5, 6])
    ]
    assert calls == [1]
    assert_close(found[0], torch.tensor([5.0, 6.0]).view(2, 1, 1, 1).expand(2, 4, 4, 4))
    assert_close(found[1], torch.ones(2, 4, 4, 4))
