"""Signed distances and the boundary term equal a search over all voxels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hilum.losses.boundary import BoundaryLoss, signed_distance

SPACING = (3.0, 1.0, 1.5)


def by_search(mask: np.ndarray) -> np.ndarray:
    found = np.zeros(mask.shape)
    for place in np.ndindex(mask.shape):
        others = [other for other in np.ndindex(mask.shape) if mask[other] != mask[place]]
        far = min(
            math.dist(
                [a * s for a, s in zip(place, SPACING, strict=True)],
                [a * s for a, s in zip(other, SPACING, strict=True)],
            )
            for other in others
        )
        found[place] = -far if mask[place] else far
    return found


def test_the_distance_equals_a_search() -> None:
    mask = np.zeros((3, 5, 4), bool)
    mask[1:, 1:4, 2:] = True
    np.testing.assert_allclose(signed_distance(mask, SPACING), by_search(mask), rtol=1e-6)


@pytest.mark.parametrize("value", [False, True])
def test_there_is_no_border_in_a_patch_of_one_kind(value: bool) -> None:
    assert not signed_distance(np.full((2, 3, 4), value), SPACING).any()


def test_the_term_equals_the_formula() -> None:
    label = torch.zeros((2, 1, 3, 5, 4), dtype=torch.uint8)
    label[0, 0, 1:, 1:4, 2:] = 1
    label[1, 0, 0, :2, :2] = 2
    label[0, 0, 0, 4] = 255
    logits = torch.randn(2, 3, 3, 5, 4, generator=torch.Generator().manual_seed(0)).double()
    p, total, known = logits.softmax(1), 0.0, label != 255
    for case in range(2):
        for c in (1, 2):
            mask = (label[case, 0] == c).numpy()
            distance = by_search(mask) if mask.any() else np.zeros(mask.shape)
            error = p[case, c].numpy() - mask
            total += float((distance * error)[known[case, 0].numpy()].sum())
    loss = BoundaryLoss(spacing=SPACING)
    term = loss.named(logits, label, loss.maps(label, 3))["boundary"]
    assert float(term) == pytest.approx(total / (2 * int(known.sum())), rel=1e-5)


def test_a_far_false_alarm_costs_more_than_a_near_one() -> None:
    label = torch.zeros((1, 1, 3, 5, 8), dtype=torch.uint8)
    label[0, 0, 1, 2, 1] = 1
    found = []
    for column in (2, 4, 7):
        logits = torch.nn.functional.one_hot(label[:, 0].long(), 2).movedim(-1, 1) * 50.0
        logits[0, :, 1, 2, column] = torch.tensor([0.0, 50.0])
        loss = BoundaryLoss()
        found.append(float(loss.named(logits, label, loss.maps(label, 2))["boundary"]))
    assert found == pytest.approx([1 / 120, 3 / 120, 6 / 120])
