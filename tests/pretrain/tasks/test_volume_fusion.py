"""Patients are blended by known coefficients, and only what could be blended counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.pretrain.tasks.volume_fusion import VolumeFusion

PAIRED = torch.ones(4, 2, dtype=torch.bool)


def make(made: Any, **params: Any) -> VolumeFusion:
    return VolumeFusion(encoder=made.encoder(), modalities=("ct", "pet"), **params).eval()


def test_a_blend_is_the_formula_voxel_by_voxel(made: Any) -> None:
    task, batch = make(made), made.batch(PAIRED)
    level, fused = task.fuse(batch)
    assert set(level.unique().tolist()) <= set(range(5))
    assert len(level.unique()) > 2
    for row in range(4):
        alpha = level[row] / 4
        for channel in range(2):
            expected = alpha * batch.image[(row + 1) % 4, channel]
            expected = expected + (1 - alpha) * batch.image[row, channel]
            assert_close(fused[row, channel], expected)


def test_a_modality_that_one_of_the_two_lacks_is_not_blended(made: Any) -> None:
    batch = made.batch()
    _, fused = make(made).fuse(batch)
    # Of the patients 0 to 3, 1 lacks PET and 3 lacks CT.
    assert_close(fused[0, 1], batch.image[0, 1], rtol=0, atol=0)
    assert not torch.equal(fused[0, 0], batch.image[0, 0])
    assert_close(fused[2, 0], batch.image[2, 0], rtol=0, atol=0)
    assert (fused[1, 1] == 0).all()


def test_the_loss_is_cross_entropy_and_dice_by_hand(made: Any) -> None:
    task, batch = make(made), made.batch(PAIRED)
    level, fused = task.fuse(batch)
    p = task.decoder(task.encoder(fused))[0].softmax(1)
    counted = torch.stack([batch.body[row, 0] | batch.body[(row + 1) % 4, 0] for row in range(4)])
    right = p.gather(1, level[:, None])[:, 0][counted]
    losses = []
    for c in range(5):
        mine, truth = p[:, c][counted], (level == c)[counted].float()
        if truth.sum():
            losses.append(1 - 2 * (mine * truth).sum() / (mine.sum() + truth.sum()))
    loss, terms = task.loss(made.batch(PAIRED))
    assert_close(terms["cross_entropy"], -right.log().mean().detach())
    assert_close(terms["dice_loss"], torch.stack(losses).mean().detach())
    assert_close(loss.detach(), (terms["cross_entropy"] + terms["dice_loss"]) / 2)


def test_a_batch_that_shares_nothing_gives_no_loss(made: Any) -> None:
    alternate = torch.tensor([[True, False], [False, True]] * 2)
    loss, _ = make(made).loss(made.batch(alternate))
    assert float(loss.detach()) == 0


def test_wrong_parameters_are_named(made: Any) -> None:
    assert VolumeFusion.least_batch == 2
    with pytest.raises(SettingsError, match="classes and boxes must be at least 1"):
        make(made, classes=0)
