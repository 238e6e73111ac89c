"""A Dirichlet split hides a fixed share of all blocks, divided over modalities at random."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hilum.core.errors import SettingsError
from hilum.core.seeds import torch_generator
from hilum.encoders.resenc import ResencEncoder
from hilum.pretrain.base import PretextBatch
from hilum.pretrain.parts.masking import hide_by_dirichlet
from hilum.pretrain.tasks.masked_autoencoder import MaskedAutoencoder

SIDES = (6, 8, 10)
HAVE = torch.tensor([[True, True], [True, False], [False, True], [False, False]])


def make(**params: Any) -> MaskedAutoencoder:
    torch.manual_seed(0)
    encoder = ResencEncoder(in_channels=2, features=[4, 8], blocks=[1, 1])
    given: dict[str, Any] = {"block": 2, "ratio": 0.75, "split": "dirichlet"} | params
    return MaskedAutoencoder(encoder=encoder, modalities=("ct", "pet"), **given)


def batch_of(have: torch.Tensor, seed: int = 0) -> PretextBatch:
    image = torch.randn(len(have), 2, *SIDES, generator=torch_generator(seed, "image"))
    body = torch.ones(len(have), 1, *SIDES, dtype=torch.bool)
    image = image * have[:, :, None, None, None]
    return PretextBatch(image, have, body, torch_generator(seed, "masks"))


def test_the_visible_blocks_have_the_number_that_the_ratio_says() -> None:
    hidden = hide_by_dirichlet(HAVE, 60, 0.75, 1.0, 0.0, torch_generator(0, "a"))
    visible = ~hidden & HAVE[..., None]
    assert visible.sum((1, 2)).tolist() == [30, 15, 15, 0]
    assert not (hidden & ~HAVE[..., None]).any()


@pytest.mark.parametrize("ratio", [1e-6, 1 - 1e-6])
def test_something_stays_visible_and_something_is_hidden(ratio: float) -> None:
    hidden = hide_by_dirichlet(HAVE[:3], 60, ratio, 1.0, 0.0, torch_generator(0, "a"))
    assert (hidden.sum((1, 2)) > 0).all()
    assert ((~hidden & HAVE[:3, :, None]).sum((1, 2)) > 0).all()


@pytest.mark.parametrize(("alpha", "spread"), [(0.2, 0.42), (1.0, 0.289), (20.0, 0.078)])
def test_alpha_says_how_even_a_split_is(alpha: float, spread: float) -> None:
    have = torch.ones(3000, 2, dtype=torch.bool)
    hidden = hide_by_dirichlet(have, 60, 0.75, alpha, 0.0, torch_generator(0, "b"))
    share = (~hidden[:, 0]).sum(1) / 30
    # Deviation of a beta: sqrt(1 / (4 (2 alpha + 1))).
    assert float(share.mean()) == pytest.approx(0.5, abs=0.025)
    assert float(share.std()) == pytest.approx(spread, abs=0.015)


def test_a_drop_hides_a_modality_in_full_and_the_other_shows_more() -> None:
    have = torch.ones(2000, 2, dtype=torch.bool)
    hidden = hide_by_dirichlet(have, 60, 0.75, 50.0, 0.5, torch_generator(0, "c"))
    gone = hidden.all(2)
    assert not gone.all(1).any()
    assert float(gone.any(1).float().mean()) == pytest.approx(0.75, abs=0.04)
    shown = (~hidden).sum(2)
    assert (shown[gone[:, 0], 1] == 30).all()


def test_the_loss_counts_what_the_split_hides() -> None:
    task, batch = make(), batch_of(HAVE)
    loss, terms = task.loss(batch._replace(generator=torch_generator(0, "masks")))
    hidden = task.hide(batch._replace(generator=torch_generator(0, "masks")))
    rebuilt = task.rebuild(batch.image, hidden).detach()
    means = [((rebuilt - batch.image)[:, m][hidden[:, m]] ** 2).mean().item() for m in range(2)]
    assert [v.item() for v in terms.values()] == pytest.approx(means, rel=1e-4)
    assert loss.item() == pytest.approx(sum(means) / 2, rel=1e-4)


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"split": "uniform"}, "split"),
        ({"masks": "shared"}, "independent"),
        ({"alpha": 0.0}, "alpha"),
        ({"drop": 1.0}, "drop"),
        ({"split": "even", "drop": 0.2}, "drop"),
    ],
)
def test_impossible_splits_are_refused(params: dict[str, Any], word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        make(**params)
