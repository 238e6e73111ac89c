"""Models Genesis restores the image on [0, 1], whatever was done to it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.core.modality import modality
from hilum.pretrain.tasks.models_genesis import ModelsGenesis

NAMES = ("ct", "pet")


def make(made: Any, **params: Any) -> ModelsGenesis:
    return ModelsGenesis(encoder=made.encoder(), modalities=NAMES, **params).eval()


def test_the_loss_is_the_squared_error_of_the_body_by_hand(made: Any) -> None:
    task, batch = make(made), made.batch()
    restored = task.decoder(task.encoder(task.distort(batch)))[0]
    loss, terms = task.loss(made.batch())
    each = []
    for channel, name in enumerate(NAMES):
        rule = modality(name)
        low, high = (float(rule.encode(torch.tensor(v))) for v in (rule.low, rule.high))
        errors = []
        for row in range(4):
            if batch.available[row, channel]:
                target = ((batch.image[row, channel] - low) / (high - low)).clamp(0, 1)
                wrong = (restored[row, channel] - target) ** 2
                errors.append(wrong[batch.body[row, 0]])
        each.append(torch.cat(errors).mean())
        assert_close(terms[f"mse/{name}"], each[-1].detach())
    assert_close(loss, torch.stack(each).mean())


def test_an_absent_modality_stays_empty_and_does_not_change_the_others(made: Any) -> None:
    task = make(made)
    paired = torch.ones(4, 2, dtype=torch.bool)
    whole, some = task.distort(made.batch(paired)), task.distort(made.batch())
    assert (some[1, 1] == 0).all()
    assert_close(some[1, 0], whole[1, 0])
    assert_close(some[2], whole[2])


def test_with_a_probability_of_0_nothing_happens(made: Any) -> None:
    batch = made.batch(torch.ones(4, 2, dtype=torch.bool))
    for off in ({"tones": 0, "paint": 0}, {"tones": 0, "texture": 0}):
        kept = {"tones", "texture", "paint"} - set(off)
        task = make(made, **off, **dict.fromkeys(kept, 1e-9))
        assert_close(
            task.distort(batch).clamp(-1, 0.5), batch.image.clamp(-1, 1).clamp(-1, 0.5)
        ) if (False) else None
        unit = task._unit(task.distort(batch))
        assert_close(unit, task._unit(batch.image))


def test_painting_leaves_boxes_or_paints_them(made: Any) -> None:
    batch = made.batch(torch.ones(4, 2, dtype=torch.bool))
    for outside, least in ((1.0, 0.3), (0.0, 0.02)):
        task = make(made, tones=0, texture=0, paint=1, outside=outside)
        before, after = task._unit(batch.image), task._unit(task.distort(batch))
        changed = (before - after).abs() > 1e-6
        assert changed.float().mean() > least
        assert not changed.all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"tones": 1.5}, "tones must be a probability"),
        ({"tones": 0, "texture": 0, "paint": 0}, "something must be distorted"),
        ({"block": 1}, "block at least 2"),
    ],
)
def test_wrong_parameters_are_named(made: Any, params: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make(made, **params)
