"""Gaussians are multiplied; training samples, prediction does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from hilum.fusion.pyramids import encode, presence
from hilum.fusion.variational import VariationalFusion


def test_the_product_is_that_of_the_densities(
    build: Callable, stir: Callable, given: dict[str, Tensor], available: Tensor
) -> None:
    """On a fine axis, the product of the experts' densities has the mean and variance found."""
    fusion = build(VariationalFusion, start=0.0)
    stir(fusion, 0.1)
    present = presence(fusion, available)
    maps = encode(fusion, given, present)[1]
    fusion.requires_grad_(False)
    maps = {name: x.detach() for name, x in maps.items()}
    mean, precision = fusion.posterior(1, maps, present)
    axis = torch.linspace(-12, 12, 20001, dtype=torch.float64)
    at = (3, 1, 2, 0)
    for case in range(3):
        log_density = Normal(0.0, 1.0).log_prob(axis)
        for name in maps:
            if present[name][case]:
                mu, log_variance = fusion.experts[f"{name}_1"](maps[name])[case].chunk(2)
                scale = float(torch.exp(0.5 * log_variance[at]))
                log_density = log_density + Normal(float(mu[at]), scale).log_prob(axis)
        density = log_density.softmax(0)
        expected = float((density * axis).sum())
        variance = float((density * (axis - expected) ** 2).sum())
        assert float(mean[case][at]) == pytest.approx(expected, abs=1e-4)
        assert float(1 / precision[case][at]) == pytest.approx(variance, rel=1e-3)


def test_the_penalty_is_the_divergence_from_the_prior(
    build: Callable, stir: Callable, given: dict[str, Tensor], available: Tensor
) -> None:
    fusion = build(VariationalFusion, weight=0.5)
    stir(fusion, 0.1)
    assert fusion.penalty() == {}
    fusion(given, available)
    present, levels = presence(fusion, available), []
    for level, maps in enumerate(encode(fusion, given, present)):
        mean, precision = fusion.posterior(level, maps, present)
        levels.append(kl_divergence(Normal(mean, precision.rsqrt()), Normal(0.0, 1.0)).mean())
    assert_close(fusion.penalty()["divergence"], 0.5 * torch.stack(levels).mean())


def test_training_samples_around_what_prediction_gives(
    build: Callable, given: dict[str, Tensor], available: Tensor
) -> None:
    fusion = build(VariationalFusion)
    calm = fusion(given, available)[0]
    assert_close(fusion(given, available)[0], calm, rtol=0, atol=0)
    fusion.train()
    torch.manual_seed(0)
    one, two = (fusion(given, available)[0] for _ in range(2))
    assert not torch.equal(one, two)


def test_a_negative_weight_is_refused(build: Callable) -> None:
    with pytest.raises(ValueError, match="weight must not be negative, got -1"):
        build(VariationalFusion, weight=-1.0)
