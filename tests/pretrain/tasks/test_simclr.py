"""SimCLR learns to know a place again in another view."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.pretrain.parts.contrast import nt_xent
from hilum.pretrain.tasks.simclr import Simclr


def make(made: Any, **params: Any) -> Simclr:
    return Simclr(encoder=made.encoder(), modalities=("ct", "pet"), width=8, **params)


def test_the_loss_is_that_of_the_keys_of_both_views(made: Any) -> None:
    task, batch = make(made).eval(), made.batch(views=2)
    loss, terms = task.loss(batch)
    keys = []
    for view in (batch, *batch.others):
        levels = task.encoder(view.image)
        pooled = torch.cat([level.mean((2, 3, 4)) for level in levels], 1)
        keys.append(torch.nn.functional.normalize(task.projection.layers(pooled), dim=1))
    assert_close(loss, nt_xent(keys[0], keys[1], 0.2))
    assert 0 <= float(terms["twin_found"]) <= 1


def test_training_makes_twins_each_others_nearest(made: Any) -> None:
    task = make(made)
    optimiser = torch.optim.AdamW(task.parameters(), 3e-3)
    first = made.batch(torch.ones(4, 2, dtype=torch.bool))
    # The second view is the first with a little noise.
    noisy = first._replace(image=first.image + 0.1 * torch.randn_like(first.image))
    losses = []
    for _ in range(15):
        loss, terms = task.loss(first._replace(others=(noisy,)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert float(terms["twin_found"]) == 1


def test_wrong_parameters_are_named(made: Any) -> None:
    assert Simclr.least_batch == Simclr.views == 2
    with pytest.raises(SettingsError, match="temperature must be above 0"):
        make(made, temperature=0)
