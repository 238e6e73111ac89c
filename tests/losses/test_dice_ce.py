"""Dice and cross-entropy equal their formulas and MONAI's, and unknown voxels never count."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from monai.losses.dice import DiceCELoss
from torch import Tensor
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.losses.base import Targets, at_resolution
from hilum.losses.dice_ce import DiceCeLoss

SIDES = (4, 6, 5)


def loss(**changes: Any) -> DiceCeLoss:
    return DiceCeLoss(**changes)


def terms(loss: DiceCeLoss, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    named = loss.named(logits, label)
    return named["dice_loss"], named["cross_entropy"]


@pytest.fixture
def sample() -> tuple[Tensor, Tensor]:
    """Return logits of three classes, and a label with every class in every patch."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, *SIDES, generator=generator, dtype=torch.float64)
    label = torch.randint(0, 3, (2, 1, *SIDES), generator=generator, dtype=torch.uint8)
    return logits, label


@pytest.mark.parametrize("batch", [False, True])
def test_equals_monai_where_no_class_is_absent(batch: bool, sample: tuple[Tensor, Tensor]) -> None:
    logits, label = sample
    monai = DiceCELoss(
        include_background=False,
        to_onehot_y=True,
        softmax=True,
        batch=batch,
        smooth_nr=0.0,
        smooth_dr=0.0,
    )
    ours, _ = loss(batch_dice=batch)([logits], label)
    assert_close(ours, monai(logits, label.double()).to(ours.dtype))


def test_equals_the_formula_voxel_by_voxel_with_unknown_voxels(
    sample: tuple[Tensor, Tensor],
) -> None:
    logits, label = sample
    label = label.clone()
    label[0, 0, 1, 2:4] = 255
    label[1, 0, 3] = 255
    dice, cross_entropy = terms(loss(batch_dice=False), logits, label)
    expected_dice, expected_ce, known = [], 0.0, 0
    for case in range(2):
        for c in (1, 2):
            both = ours = truth = 0.0
            for place in torch.cartesian_prod(*map(torch.arange, SIDES)).tolist():
                value = int(label[(case, 0, *place)])
                p = float(logits[(case, slice(None), *place)].softmax(0)[c])
                if value != 255:
                    both, ours, truth = both + p * (value == c), ours + p, truth + (value == c)
            expected_dice.append(1 - 2 * both / (ours + truth))
        for place in torch.cartesian_prod(*map(torch.arange, SIDES)).tolist():
            value = int(label[(case, 0, *place)])
            if value != 255:
                scores = logits[(case, slice(None), *place)].softmax(0)
                expected_ce, known = expected_ce - math.log(float(scores[value])), known + 1
    assert float(dice) == pytest.approx(sum(expected_dice) / 4)
    assert float(cross_entropy) == pytest.approx(expected_ce / known)


@pytest.mark.parametrize("batch", [False, True])
def test_unknown_voxels_get_exactly_no_gradient_at_every_level(batch: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    label = torch.randint(0, 2, (2, 1, 8, 8, 12), generator=generator, dtype=torch.uint8)
    label[:, :, 2:6, :, 4:] = 255
    levels = [
        torch.randn(2, 2, *sides, generator=generator, requires_grad=True)
        for sides in ((8, 8, 12), (4, 4, 6), (2, 2, 3))
    ]
    for dice, cross_entropy in ((1.0, 0.0), (0.0, 1.0)):
        for x in levels:
            x.grad = None
        value, _ = loss(dice=dice, cross_entropy=cross_entropy, batch_dice=batch)(levels, label)
        value.backward()
        for x in levels:
            assert x.grad is not None
            unknown = (at_resolution(label, x.shape[2:]) == 255).expand_as(x)
            assert unknown.any()
            assert (x.grad[unknown] == 0).all()
            assert (x.grad[~unknown] != 0).all()


def test_unknown_voxels_do_not_change_the_value(sample: tuple[Tensor, Tensor]) -> None:
    logits, label = sample
    label = label.clone()
    label[:, :, 1] = 255
    other = logits.clone()
    other[:, :, 1] = 1e4
    assert_close(loss()([logits], label)[0], loss()([other], label)[0])


def test_all_voxels_unknown_is_a_loss_of_zero_without_nan() -> None:
    logits = torch.randn(1, 2, *SIDES, requires_grad=True)
    value, _ = loss()([logits], torch.full((1, 1, *SIDES), 255, dtype=torch.uint8))
    value.backward()
    assert float(value.detach()) == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_dice_says_nothing_about_a_patch_without_nodes() -> None:
    label = torch.zeros((1, 1, *SIDES), dtype=torch.uint8)
    for size in (-20.0, 0.0, 20.0):
        logits = torch.zeros(1, 2, *SIDES, requires_grad=True)
        dice, cross_entropy = terms(
            loss(), logits + torch.tensor([0, size])[:, None, None, None], label
        )
        assert float(dice.detach()) == 0
        (dice + 0 * cross_entropy).backward()
        assert logits.grad is not None
        assert (logits.grad == 0).all()


def test_an_empty_patch_does_not_dilute_the_dice_of_its_neighbour() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(2, 2, *SIDES, generator=generator)
    label = torch.zeros((2, 1, *SIDES), dtype=torch.uint8)
    label[0, 0, 1:3, 2:4] = 1
    both, _ = terms(loss(batch_dice=False), logits, label)
    alone, _ = terms(loss(batch_dice=False), logits[:1], label[:1])
    assert_close(both, alone)


def test_levels_weigh_half_as_much_each_and_sum_to_one(sample: tuple[Tensor, Tensor]) -> None:
    logits, label = sample
    coarse = logits[..., :2, :3, :2].contiguous()
    one = float(loss()([logits], label)[0])
    two = float(loss()([coarse], label)[0])
    assert float(loss()([logits, coarse], label)[0]) == pytest.approx((2 * one + two) / 3, rel=1e-6)


def test_a_perfect_prediction_has_no_loss(sample: tuple[Tensor, Tensor]) -> None:
    _, label = sample
    logits = 100 * torch.nn.functional.one_hot(label[:, 0].long(), 3).movedim(-1, 1).float()
    assert float(loss()([logits], label)[0]) == pytest.approx(0, abs=1e-6)


def test_a_coarse_label_takes_whole_voxels_so_that_unknown_stays_unknown() -> None:
    label = torch.zeros((1, 1, 4, 4, 6), dtype=torch.uint8)
    label[0, 0, 1, 1, 1::2] = torch.tensor([1, 255, 2], dtype=torch.uint8)
    assert at_resolution(label, (2, 2, 3))[0, 0, 0, 0].tolist() == [1, 255, 2]


@pytest.mark.parametrize("changes", [{"dice": -1}, {"dice": 0, "cross_entropy": 0}])
def test_a_wrong_weight_is_an_error(changes: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        loss(**changes)


def test_shares_and_regions_equal_their_formulas_voxel_by_voxel(
    sample: tuple[Tensor, Tensor],
) -> None:
    logits, label = sample
    label = label.clone()
    label[0, 0, 1, 2:4] = 255
    generator = torch.Generator().manual_seed(1)
    table = torch.rand(2, 256, 3, generator=generator)
    table = table / table.sum(2, keepdim=True)
    for overlapping in (False, True):
        named = loss(batch_dice=True).named(logits, label, None, Targets(table, overlapping))
        ce, count = 0.0, 0
        dice = torch.zeros(2, 2, dtype=torch.float64)
        for b, d, h, w in torch.cartesian_prod(*map(torch.arange, (2, *SIDES))).tolist():
            number = int(label[b, 0, d, h, w])
            if number == 255:
                continue
            count += 1
            share, z = table[b, number].double(), logits[b, :, d, h, w]
            if overlapping:
                p = 1 / (1 + torch.exp(z[0] - z[1:]))
                each = -(share[1:] * p.log() + (1 - share[1:]) * (1 - p).log())
                ce += float(each.sum()) / 2
            else:
                p = z.exp() / z.exp().sum()
                ce -= float((share * p.log()).sum())
                p = p[1:]
            dice[0] += 2 * torch.minimum(p, share[1:])
            dice[1] += p + share[1:]
        assert float(named["cross_entropy"]) == pytest.approx(ce / count, rel=1e-6)
        expected = float((1 - dice[0] / dice[1]).mean())
        assert float(named["dice_loss"]) == pytest.approx(expected, rel=1e-6)
