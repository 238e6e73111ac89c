"""The blob term equals a loop over nodes with the others masked out."""

from __future__ import annotations

import pytest
import torch
from scipy import ndimage
from torch import Tensor

from hilum.losses.blob import BlobLoss

SIDES = (5, 7, 6)


def nodes() -> Tensor:
    """Return a patch with two nodes of class 1 and one of class 2, one with one node, one empty."""
    label = torch.zeros((3, 1, *SIDES), dtype=torch.uint8)
    label[0, 0, 0, 0, 0] = 1
    label[0, 0, 2:5, 3:6, 2:4] = 1
    label[0, 0, 0:2, 5:, 4:] = 2
    label[1, 0, 1:3, 1:3, 1:3] = 1
    label[0, 0, 4] = 255
    label[1, 0, 1, 1] = 255
    return label


def test_equals_a_loop_over_the_nodes() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 3, *SIDES, generator=generator, dtype=torch.float64)
    label, p = nodes(), logits.softmax(1)
    expected = []
    for case in range(3):
        for c in (1, 2):
            mask = (label[case, 0] == c).numpy()
            marked, count = ndimage.label(mask, ndimage.generate_binary_structure(3, 3))  # pyright: ignore[reportGeneralTypeIssues]
            for n in range(1, count + 1):
                own = torch.from_numpy(marked == n)
                domain = (label[case, 0] != 255) & ~(torch.from_numpy(mask) & ~own)
                both = (p[case, c] * own)[domain].sum()
                whole = p[case, c][domain].sum() + own.sum()
                expected.append(float(1 - 2 * both / whole))
    assert len(expected) == 4
    loss = BlobLoss()
    term = loss.named(logits, label, loss.maps(label, 3))["blob"]
    assert float(term) == pytest.approx(sum(expected) / 4)


def test_missing_a_small_node_costs_as_much_as_missing_a_large_one() -> None:
    label = nodes()[:1]
    label[label > 1] = 0
    perfect = torch.nn.functional.one_hot((label == 1)[:, 0].long(), 2).movedim(-1, 1) * 60.0
    found = []
    for place in ((0, 0, 0), (slice(2, 5), slice(3, 6), slice(2, 4))):
        logits = perfect.clone()
        logits[(0, 0, *place)], logits[(0, 1, *place)] = 60.0, 0.0
        loss = BlobLoss()
        found.append(float(loss.named(logits, label, loss.maps(label, 2))["blob"]))
    assert found == pytest.approx([0.5, 0.5])
