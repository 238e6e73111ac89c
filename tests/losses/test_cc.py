"""The terms of cells equal a loop over cells that are found voxel by voxel."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from hilum.losses.cc import CcLoss
from hilum.losses.dice_ce import DiceCeLoss

SIDES = (4, 6, 5)


PLACES = list(np.ndindex(*SIDES))


def nearest(mask: np.ndarray) -> dict[tuple[int, ...], list[int]]:
    """Return the nearest nodes of each voxel: none without nodes, several at equal distances."""
    marked, count = ndimage.label(mask, np.ones((3, 3, 3)))  # pyright: ignore[reportGeneralTypeIssues]
    members = {n: [p for p in PLACES if marked[p] == n] for n in range(1, count + 1)}
    found = {}
    for place in PLACES:
        far = {n: min(math.dist(place, other) for other in own) for n, own in members.items()}
        found[place] = [n for n in far if far[n] == min(far.values())]
    return found


def expected(logits: Tensor, label: Tensor, case: int, c: int) -> tuple[list[float], list[float]]:
    """Return Dice loss and cross-entropy of each cell of one class, cell by cell."""
    cells: dict[int, list[tuple[int, ...]]] = {}
    for place, numbers in nearest((label[case, 0] == c).numpy()).items():
        cells.setdefault(numbers[0] if numbers else 0, []).append(place)
    dice, entropy = [], []
    for number, cell in cells.items():
        known = [place for place in cell if int(label[(case, 0, *place)]) != 255]
        values = [int(label[(case, 0, *place)]) for place in known]
        scores = [logits[(case, slice(None), *place)] for place in known]
        losses = [-float(s.log_softmax(0)[v]) for s, v in zip(scores, values, strict=True)]
        entropy.append(sum(losses) / len(losses))
        p = [float(s.softmax(0)[c]) for s in scores]
        hit = sum(one for one, v in zip(p, values, strict=True) if v == c)
        if number:
            dice.append(1 - 2 * hit / (sum(p) + values.count(c)))
    return dice, entropy


def test_equals_a_loop_over_the_cells() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, *SIDES, generator=generator, dtype=torch.float64)
    label = torch.zeros((2, 1, *SIDES), dtype=torch.uint8)
    label[0, 0, 0, 0, 0] = label[0, 0, 3, 4:, 4] = 1
    label[0, 0, 1, 2:4, 2] = 2
    label[0, 0, 2, 1] = 255
    for place, numbers in nearest((label[0, 0] == 1).numpy()).items():
        if len(numbers) > 1:  # between two nodes: either cell may have it
            label[(0, 0, *place)] = 255
    both = [expected(logits, label, case, c) for case in range(2) for c in (1, 2)]
    dice = [value for one, _ in both for value in one]
    entropy = [value for _, one in both for value in one]
    assert len(dice) == 3
    assert len(entropy) == 5
    loss = CcLoss()
    terms = loss.named(logits, label, loss.maps(label, 3))
    assert float(terms["cell_dice"]) == pytest.approx(sum(dice) / 3)
    assert float(terms["cell_cross_entropy"]) == pytest.approx(sum(entropy) / 5)


def test_one_node_is_dice_and_cross_entropy_of_the_patch() -> None:
    label = torch.zeros((1, 1, *SIDES), dtype=torch.uint8)
    label[0, 0, 1:3, 2:5, 1:3] = 1
    label[0, 0, 3, 3] = 255
    logits = torch.randn(1, 2, *SIDES, generator=torch.Generator().manual_seed(1))
    assert float(CcLoss()([logits], label)[0]) == pytest.approx(
        float(DiceCeLoss()([logits], label)[0]), rel=1e-6
    )


def test_the_patch_counts_beside_the_cells_if_it_has_a_weight() -> None:
    label = torch.zeros((1, 1, *SIDES), dtype=torch.uint8)
    label[0, 0, 0, 0, 0] = label[0, 0, 3, 4:, 4] = 1
    logits = torch.randn(1, 2, *SIDES, generator=torch.Generator().manual_seed(1))
    cells, both = CcLoss(), CcLoss(whole=0.5)
    expected = float(cells([logits], label)[0]) + 0.5 * float(DiceCeLoss()([logits], label)[0])
    assert float(both([logits], label)[0]) == pytest.approx(expected)
