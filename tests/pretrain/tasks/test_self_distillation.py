"""The student rebuilds what is hidden, and feels there what the teacher feels of the whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.pretrain.tasks.self_distillation import SelfDistillation


def make(made: Any, **params: Any) -> SelfDistillation:
    task = SelfDistillation(
        encoder=made.encoder(), modalities=("ct", "pet"), prototypes=6, **params
    )
    return task.eval()


def test_the_loss_is_its_three_terms_by_hand(made: Any) -> None:
    task, batch = make(made, weights={"patch": 0.5}), made.batch()
    with torch.no_grad():
        for parameter in task.encoder.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    hidden = task.hide(batch)
    maps = task.encoder(batch.image.masked_fill(hidden, 0))
    rebuilt, student = task.decoder(maps)[0], maps[-1]
    each = []
    for channel in range(2):
        where = (
            hidden[:, channel] & batch.body[:, 0] & batch.available[:, channel, None, None, None]
        )
        each.append(((rebuilt - batch.image)[:, channel][where] ** 2).mean())
    own = task.teacher.network
    taught = own["encoder"](batch.image)[-1]  # pyright: ignore
    losses = []
    for row in range(4):
        for d, h, w in torch.cartesian_prod(*(torch.arange(n) for n in taught.shape[2:])).tolist():
            cube = (slice(2 * d, 2 * d + 2), slice(2 * h, 2 * h + 2), slice(2 * w, 2 * w + 2))
            if not (hidden[row].any(0) & batch.body[row, 0])[cube].any():
                continue
            target = (own["head"](taught[row, :, d, h, w][None]) / 0.05).softmax(1)  # pyright: ignore
            scores = (task.head(student[row, :, d, h, w][None]) / 0.1).log_softmax(1)
            losses.append(-(target * scores).sum())
    whole = (own["head"](taught.mean((2, 3, 4))) / 0.05).softmax(1)  # pyright: ignore
    ours = (task.head(student.mean((2, 3, 4))) / 0.1).log_softmax(1)
    loss, terms = task.loss(made.batch())
    assert_close(terms["reconstruction"], torch.stack(each).mean().detach())
    assert_close(terms["patch"], torch.stack(losses).mean().detach())
    assert_close(terms["whole"], -(whole * ours).sum(1).mean().detach())
    expected = terms["reconstruction"] + 0.5 * terms["patch"] + 0.1 * terms["whole"]
    assert_close(loss.detach(), expected)


def test_the_student_does_not_see_what_is_hidden_and_the_teacher_does(made: Any) -> None:
    task, batch = make(made), made.batch()
    hidden = task.hide(batch)
    other = torch.where(hidden, torch.full_like(batch.image, 5.0), batch.image)
    assert_close(task._masked(other, hidden), task._masked(batch.image, hidden), rtol=0, atol=0)
    plain, changed = (
        task.loss(made.batch()._replace(image=x))[1]["patch"] for x in (batch.image, other)
    )
    assert plain != changed


def test_centres_follow_in_training_only_and_networks_are_handed_on(made: Any) -> None:
    task = make(made)
    task.loss(made.batch())
    assert (task.centre.mean == 0).all()
    task.train().loss(made.batch())
    assert (task.centre.mean != 0).any()
    assert (task.whole.mean != 0).any()
    assert set(task.networks()) == {"teacher"}


def test_wrong_parameters_are_named(made: Any) -> None:
    for ratio in (0, 1):
        with pytest.raises(SettingsError, match="mask ratio must be above 0 and below 1"):
            make(made, ratio=ratio)
    with pytest.raises(SettingsError, match="weights must be for reconstruction, patch, whole"):
        make(made, weights={"x": 1})
    with pytest.raises(SettingsError, match="teacher_temperature < student_temperature"):
        make(made, teacher_temperature=0.2)
    with pytest.raises(SettingsError, match="at least two blocks"):
        make(made).check_patch((2, 2, 2))
