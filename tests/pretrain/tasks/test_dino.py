"""DINO's student learns from its own average, and its numbers tell a collapse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.core.seeds import torch_generator
from hilum.pretrain.tasks.dino import Dino

NAMES = ("ct", "pet")


def make(made: Any, **params: Any) -> Dino:
    return Dino(encoder=made.encoder(), modalities=NAMES, prototypes=12, **params).eval()


def test_the_loss_is_the_cross_entropy_of_different_views_by_hand(made: Any) -> None:
    task, batch = make(made), made.batch(views=2)
    with torch.no_grad():
        task.centre.mean.copy_(torch.linspace(-0.1, 0.1, 12))
        for parameter in task.encoder.parameters():
            parameter += 0.05 * torch.randn_like(parameter)  # the teacher is another network
    images = [batch.image, batch.others[0].image, task.crop(batch), task.crop(batch)]
    student = [task.head(task.encoder(x)[-1].mean((2, 3, 4))) for x in images]
    own = task.teacher.network
    teacher = [own["head"](own["encoder"](x)[-1].mean((2, 3, 4))) for x in images[:2]]  # pyright: ignore
    parts = []
    for g in range(2):
        target = ((teacher[g] - task.centre.mean) / 0.02).softmax(1)
        for v in range(4):
            if v != g:
                parts.append(-(target * (student[v] / 0.1).log_softmax(1)).sum(1).mean())
    loss, terms = task.loss(made.batch(views=2))
    assert_close(loss, torch.stack(parts).mean())
    assert 0 <= float(terms["teacher_entropy"]) <= 1
    spread = task.encoder(images[0])[-1].mean((2, 3, 4)).std(0).mean()
    assert_close(terms["feature_std"], spread.detach())


def test_a_crop_is_a_part_of_the_view(made: Any) -> None:
    task, batch = make(made), made.batch()
    crop = task.crop(batch)
    assert crop.shape == (4, 2, 4, 8, 8)
    windows = batch.image[0, 0].unfold(0, 4, 1).unfold(1, 8, 1).unfold(2, 8, 1)
    assert (windows == crop[0, 0]).all(-1).all(-1).all(-1).sum() == 1


def test_the_centre_moves_in_training_only_and_the_teacher_after_a_step(made: Any) -> None:
    task = make(made)
    task.loss(made.batch(views=2))
    assert (task.centre.mean == 0).all()
    task.train()
    task.loss(made.batch(views=2))
    assert (task.centre.mean != 0).any()
    with torch.no_grad():
        for parameter in task.encoder.parameters():
            parameter += 1
    before = next(task.teacher.parameters()).clone()
    task.after_step(1, 1000)
    moved = next(task.teacher.parameters()) - before
    assert_close(moved, torch.full_like(moved, 0.004), rtol=0.01, atol=1e-6)
    assert task.networks()["teacher"] is task.teacher.network["encoder"]  # pyright: ignore


def test_the_targets_sharpen_slowly(made: Any) -> None:
    task = make(made, warmup=0.2)
    found = []
    for step in (0, 10, 20, 100):
        task.after_step(step, 100)
        found.append(task._temperature())
    assert found == pytest.approx([0.02, 0.03, 0.04, 0.04])


def test_wrong_parameters_are_named(made: Any) -> None:
    assert Dino.least_batch == 2
    with pytest.raises(SettingsError, match="below the student's"):
        make(made, teacher_temperature=0.2)
    with pytest.raises(SettingsError, match="local within 0 and 1"):
        make(made, local=0.0)
    with pytest.raises(SettingsError, match="warmup must be a fraction"):
        make(made, warmup=1.5)
    task = make(made, local=0.1)
    with pytest.raises(SettingsError, match="more than one voxel of the coarsest map"):
        task.check_patch((4, 4, 4))
    assert task.crop(made.batch()._replace(generator=torch_generator(1, "x"))).shape[2:] == (
        2,
        2,
        2,
    )
