"""SimMIM predicts hidden voxels by one linear layer, and counts them alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.pretrain.tasks.simmim import Simmim


def make(made: Any, **params: Any) -> Simmim:
    given: dict[str, Any] = {"block": 4, "stride": 2} | params
    return Simmim(encoder=made.encoder(), modalities=("ct", "pet"), **given).eval()


def test_the_loss_is_the_absolute_error_of_what_is_hidden_by_hand(made: Any) -> None:
    task, batch = make(made), made.batch()
    hidden = task.hide(batch)
    rebuilt = task.rebuild(batch.image, hidden)
    loss, terms = task.loss(made.batch())
    each = []
    for channel, name in enumerate(("ct", "pet")):
        errors = []
        for row in range(4):
            if batch.available[row, channel]:
                where = hidden[row, channel] & batch.body[row, 0]
                errors.append((rebuilt[row, channel] - batch.image[row, channel]).abs()[where])
        each.append(torch.cat(errors).mean())
        assert_close(terms[f"l1/{name}"], each[-1].detach())
    assert_close(loss, torch.stack(each).mean())


def test_the_head_writes_each_voxel_below_its_own(made: Any) -> None:
    task, batch = make(made), made.batch()
    hidden = torch.zeros_like(batch.image, dtype=torch.bool)
    rebuilt = task.rebuild(batch.image, hidden)
    features = task.encoder(batch.image)[1]
    weight, bias = task.head.weight[:, :, 0, 0, 0], task.head.bias
    for row, m, d, h, w in ((0, 0, 0, 0, 0), (1, 1, 3, 8, 5), (2, 1, 7, 15, 14)):
        own = (weight @ features[row, :, d // 2, h // 2, w // 2] + bias).view(2, 2, 2, 2)  # pyright: ignore
        assert_close(rebuilt[row, m, d, h, w], own[m, d % 2, h % 2, w % 2])


def test_the_network_does_not_see_what_is_hidden(made: Any) -> None:
    task, batch = make(made), made.batch()
    hidden = task.hide(batch)
    other = torch.where(hidden, torch.full_like(batch.image, 9.0), batch.image)
    assert_close(task.rebuild(other, hidden), task.rebuild(batch.image, hidden), rtol=0, atol=0)
    share = hidden[batch.available].float().mean()
    assert abs(float(share) - 0.6) < 0.05


def test_wrong_parameters_are_named(made: Any) -> None:
    for ratio in (0, 1):
        with pytest.raises(SettingsError, match="mask ratio must be above 0 and below 1"):
            make(made, ratio=ratio)
    with pytest.raises(SettingsError, match=r"set task.stride to 1 or more"):
        make(made, stride=0)
    with pytest.raises(SettingsError, match="at least two blocks"):
        make(made).check_patch((4, 4, 4))
