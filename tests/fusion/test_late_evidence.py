"""Dempster's rule, and an absent modality that knows nothing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from hilum.fusion.late_evidence import LateEvidenceFusion, _combined


def dempster(one: dict[str, float], two: dict[str, float]) -> dict[str, float]:
    """Combine masses over {a}, {b} and their union by the rule's own words: intersections."""
    masses: dict[str, float] = dict.fromkeys(("a", "b", "ab"), 0.0)
    for (x, p), (y, q) in product(one.items(), two.items()):
        common = "".join(sorted(set(x) & set(y)))
        if common:
            masses[common] += p * q
    total = sum(masses.values())
    return {key: value / total for key, value in masses.items()}


def opinion(logits: Tensor) -> dict[str, float]:
    evidence = F.softplus(logits)
    total = float(evidence.sum()) + 2
    return {"a": float(evidence[0]) / total, "b": float(evidence[1]) / total, "ab": 2 / total}


def test_it_is_dempsters_rule_over_intersections_of_sets() -> None:
    logits = torch.randn(3, 1, 2, 1, 1, 1, dtype=torch.float64)
    everything = torch.ones(3, 1, 1, 1, 1, 1, dtype=torch.bool)
    masses = opinion(logits[0].flatten())
    for other in logits[1:]:
        masses = dempster(masses, opinion(other.flatten()))
    found = _combined(logits, everything).exp().flatten()
    expected = [masses["a"] + masses["ab"] / 2, masses["b"] + masses["ab"] / 2]
    assert_close(found, torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=1e-5)


def test_probabilities_sum_to_one_and_the_absent_changes_nothing(
    build: Callable, given: dict[str, Tensor], available: Tensor
) -> None:
    fusion = build(LateEvidenceFusion)
    found = fusion(given, available)[0].exp()
    assert_close(found.sum(1), torch.ones_like(found[:, 0]), atol=1e-6, rtol=0)
    own = fusion.decoders["ct"](fusion.encoders["ct"](given["ct"]))[0][1]
    evidence = F.softplus(own)
    expected = (evidence + 1) / (evidence.sum(0, keepdim=True) + 2)
    assert_close(found[1], expected, atol=1e-6, rtol=1e-5)


def test_agreement_makes_sure_and_conflict_does_not() -> None:
    sure = torch.tensor([1.0, 6.0])
    both = torch.ones(2, 1, 1, 1, 1, 1, dtype=torch.bool)

    def certainty(*rows: Tensor) -> float:
        return float(_combined(torch.stack(rows).view(2, 1, 2, 1, 1, 1), both).exp().max())

    alone = torch.ones(2, 1, 1, 1, 1, 1, dtype=torch.bool)
    alone[1] = False
    single = float(_combined(torch.stack([sure, sure]).view(2, 1, 2, 1, 1, 1), alone).exp().max())
    assert certainty(sure, sure) > single > certainty(sure, sure.flip(0))
