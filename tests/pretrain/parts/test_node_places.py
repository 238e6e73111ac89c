"""Where a node may lie and what it may fill, against formulas of planes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from hilum.core.modality import modality
from hilum.pretrain.parts.node_places import by_tissue, deep, one_sided, open_to_nodes

SPACING = (2.0, 2.0, 2.0)
SIDES = (6, 40, 40)
CT = modality("ct")


def plane(values: list[float]) -> torch.Tensor:
    """Return a volume `[1, D, H, W]` that changes along its height only."""
    return torch.tensor(values).view(1, 1, -1, 1).expand(1, SIDES[0], -1, SIDES[2]).contiguous()


def test_an_even_border_is_one_sided_and_a_gap_between_two_sides_is_not() -> None:
    places = (np.arange(40) - 19.5) * 2
    step = one_sided(plane(stats.norm.cdf(places, scale=5).tolist()), SPACING)[0, 3, :, 20]
    expected = stats.norm.pdf(places, scale=5) * 5 * np.sqrt(2 * np.pi)
    # Central differences over 4 mm see the slope of a plane smoothed by 5 mm a little lower.
    assert np.abs(step.numpy()[1:-1] - expected[1:-1]).max() < 0.05
    gap = plane((1 - np.exp(-((places + 1) ** 2) / 50)).tolist())
    assert float(one_sided(gap, SPACING)[0, 3, 19, 20]) < 0.02


def test_a_node_lies_a_centimetre_under_the_skin() -> None:
    body = torch.zeros(1, *SIDES, dtype=torch.bool)
    body[:, :, 10:] = True
    first = int(deep(body, SPACING)[0, 3, :, 20].float().argmax())
    # The share of a half-space inside a Gaussian of 6 mm is above .975 from 1.96 * 6 mm on.
    depth = (first + 0.5 - 10) * 2
    assert depth == pytest.approx(1.96 * 6, abs=2)


def test_fat_between_muscles_is_worth_more_than_fat_under_the_skin() -> None:
    hu = [-1000.0] * 4 + [-100.0] * 8 + [50.0] * 8 + [-100.0] * 5 + [50.0] * 15
    ct = plane(hu)
    worth = by_tissue(ct, CT, ct > -500, SPACING)[0, 3, :, 20]
    between, border = float(worth[22]), float(worth[10:14].max())
    assert between > 0.5
    assert border < between / 2
    assert (worth[:9] == 0).all()
    assert (worth[32:] == 0).all(), "the depth of a muscle"


def test_nodes_fill_fat_and_soft_tissue_and_mould_around_the_rest() -> None:
    hu = [-1000.0] * 4 + [-100.0] * 6 + [50.0] * 8 + [600.0] * 6 + [50.0] * 6 + [-800.0] * 10
    ct = plane(hu)
    have, body = torch.ones(1, 1, dtype=torch.bool), ct > -900
    free = open_to_nodes([ct], [CT], have, body, SPACING)[0, 3, :, 20]
    assert free[4:18].all()
    assert free[24:30].all()
    assert not free[:4].any()
    assert not free[18:24].any()
    assert not free[30:].any()
    # A single noisy voxel of fat below the least HU of fat makes no hole.
    noisy = ct.clone()
    noisy[0, 3, 7, 20] = -190
    assert open_to_nodes([noisy], [CT], have, body, SPACING)[0, 3, 7, 20]
    absent = open_to_nodes([ct], [CT], ~have, body, SPACING)[0, 3, :, 20]
    assert absent[6:38].all(), "without a CT all of the body"
