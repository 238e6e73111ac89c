"""SparK rebuilds from visible blocks, and its holes are one vector per level."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.encoders.vit import VitEncoder
from hilum.pretrain.tasks.sparse_autoencoder import SparseAutoencoder


def make(made: Any, **params: Any) -> SparseAutoencoder:
    task = SparseAutoencoder(encoder=made.encoder((4, 8, 8)), modalities=("ct", "pet"), **params)
    return task.eval()


def test_the_loss_is_the_squared_error_of_hidden_places_by_hand(made: Any) -> None:
    task, batch = make(made), made.batch()
    places = task.hide(batch)
    assert places.shape == (4, 1, 8, 16, 16)
    rebuilt = task.rebuild(batch.image, places)
    each = []
    for channel in range(2):
        errors = [
            ((rebuilt - batch.image)[row, channel] ** 2)[places[row, 0] & batch.body[row, 0]]
            for row in range(4)
            if batch.available[row, channel]
        ]
        each.append(torch.cat(errors).mean())
    loss, terms = task.loss(made.batch())
    assert_close(loss, torch.stack(each).mean())
    assert_close(terms["mse/pet"], each[1].detach())


def test_the_network_does_not_see_what_is_hidden(made: Any) -> None:
    task, batch = make(made), made.batch()
    places = task.hide(batch)
    other = torch.where(places, torch.full_like(batch.image, 9.0), batch.image)
    assert_close(task.rebuild(other, places), task.rebuild(batch.image, places), rtol=0, atol=0)
    assert abs(float(places.float().mean()) - 0.6) < 0.1


def test_an_encoder_that_mixes_places_is_refused(made: Any) -> None:
    vit = VitEncoder(in_channels=2, token=8, trained=16, width=12, depth=1, heads=2)
    with pytest.raises(SettingsError, match=r"convolutions and instance norms.*LayerNorm"):
        SparseAutoencoder(encoder=vit, modalities=("ct", "pet"))


def test_wrong_parameters_are_named(made: Any) -> None:
    for ratio in (0, 1):
        with pytest.raises(SettingsError, match="mask ratio must be above 0 and below 1"):
            make(made, ratio=ratio)
    with pytest.raises(SettingsError, match="whole blocks"):
        make(made).check_patch((8, 16, 10))
    with pytest.raises(SettingsError, match="at least two blocks"):
        make(made).check_patch((4, 4, 4))
