"""A product of experts is Bayes' rule for independent modalities."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hilum.fusion.late_product import LateProductFusion


def test_it_is_bayes_rule_worked_out_by_hand(build: Callable) -> None:
    """Prior 0.1; one says 0.3, the other 0.6: odds 0.3/0.7 * 0.6/0.4 / (0.1/0.9)."""
    fusion = build(LateProductFusion, prior=0.1)
    logits = torch.tensor([[0.7, 0.3], [0.4, 0.6]]).log().view(2, 1, 2, 1, 1, 1)
    both = torch.ones(2, 1, 1, 1, 1, 1, dtype=torch.bool)
    odds = (0.3 / 0.7) * (0.6 / 0.4) / (0.1 / 0.9)
    found = fusion._product(logits, both).softmax(1).flatten()
    assert found[1].item() == pytest.approx(odds / (1 + odds), rel=1e-5)


def test_one_modality_alone_is_its_own_posterior(build: Callable, given: dict[str, Tensor]) -> None:
    fusion = build(LateProductFusion)
    only = fusion(given, torch.tensor([[True, False]] * 3))[0]
    own = fusion.decoders["ct"](fusion.encoders["ct"](given["ct"]))[0]
    assert_close(only.softmax(1), own.softmax(1), atol=1e-5, rtol=1e-4)


def test_what_says_no_more_than_the_prior_changes_nothing(build: Callable) -> None:
    fusion = build(LateProductFusion, prior=0.2)
    sure, prior = torch.tensor([0.9, 0.1]).log(), torch.tensor([0.8, 0.2]).log()
    both = torch.ones(2, 1, 1, 1, 1, 1, dtype=torch.bool)
    logits = torch.stack([sure, prior]).view(2, 1, 2, 1, 1, 1)
    assert_close(fusion._product(logits, both).softmax(1).flatten(), sure.exp())


def test_three_classes_by_hand(build: Callable) -> None:
    """Priors 0.8, 0.1, 0.1: products of the posteriors over the prior, normalised."""
    fusion = build(LateProductFusion, prior=1 / 9)
    one, two = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.6, 0.3, 0.1])
    expected = one * two / torch.tensor([0.8, 0.1, 0.1])
    both = torch.ones(2, 1, 1, 1, 1, 1, dtype=torch.bool)
    logits = torch.stack([one, two]).log().view(2, 1, 3, 1, 1, 1)
    found = fusion._product(logits, both).softmax(1).flatten()
    assert_close(found, expected / expected.sum(), atol=1e-6, rtol=0)


def test_bad_priors_are_refused(build: Callable) -> None:
    with pytest.raises(ValueError, match="prior must be between 0 and 1, got 1"):
        build(LateProductFusion, prior=1.0)
