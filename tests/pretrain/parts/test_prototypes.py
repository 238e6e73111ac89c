"""Targets are centred and sharpened, and entropies tell a collapse."""

from __future__ import annotations

import math

import torch
from torch.testing import assert_close

from hilum.pretrain.parts.prototypes import Centre, PrototypeHead, cross_entropy, entropy


def test_scores_are_cosines() -> None:
    torch.manual_seed(0)
    head = PrototypeHead(6, 5, width=4)
    x = torch.randn(3, 6)
    inner = head.layers(x)
    for row in range(3):
        for k in range(5):
            cosine = torch.nn.functional.cosine_similarity(inner[row], head.prototypes[k], dim=0)
            assert_close(head(x)[row, k], cosine)


def test_the_centre_moves_and_is_taken_off() -> None:
    centre = Centre(3, momentum=0.9)
    scores = torch.tensor([[1.0, 0.0, 2.0], [3.0, 0.0, 0.0]])
    centre.follow(scores)
    assert_close(centre.mean, torch.tensor([0.2, 0.0, 0.1]))
    expected = ((scores - torch.tensor([0.2, 0.0, 0.1])) / 0.5).exp()
    assert_close(centre.targets(scores, 0.5), expected / expected.sum(1, keepdim=True))
    centre.follow(scores[:0])
    assert_close(centre.mean, torch.tensor([0.2, 0.0, 0.1]))


def test_cross_entropy_and_entropy_by_hand() -> None:
    target, scores = torch.tensor([[0.25, 0.75]]), torch.tensor([[1.0, 2.0]])
    total = math.exp(1 / 0.5) + math.exp(2 / 0.5)
    by_hand = -(0.25 * math.log(math.exp(2) / total) + 0.75 * math.log(math.exp(4) / total))
    assert_close(cross_entropy(target, scores, 0.5), torch.tensor([by_hand]))
    assert_close(entropy(torch.full((4, 8), 1 / 8)), torch.tensor(1.0))
    assert_close(entropy(torch.eye(3)), torch.tensor(0.0), atol=1e-6, rtol=0)
