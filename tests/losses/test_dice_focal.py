"""The focal term equals MONAI's, and is the cross-entropy where gamma is 0."""

from __future__ import annotations

import pytest
import torch
from monai.losses.dice import DiceLoss
from monai.losses.focal_loss import FocalLoss
from torch.testing import assert_close

from hilum.losses.dice_focal import DiceFocalLoss


def test_equals_monai() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 6, 5, generator=generator, dtype=torch.float64)
    label = torch.randint(0, 3, (2, 1, 4, 6, 5), generator=generator, dtype=torch.uint8)
    for gamma in (1.0, 2.0, 3.5):
        terms = DiceFocalLoss(gamma=gamma, batch_dice=False).named(logits, label)
        focal = FocalLoss(to_onehot_y=True, use_softmax=True, gamma=gamma)
        # MONAI's mean is over classes, too.
        expected = 3 * focal(logits, label.double()).double()
        assert_close(terms["focal"], expected, rtol=1e-5, atol=1e-6)
        dice = DiceLoss(False, to_onehot_y=True, softmax=True, smooth_nr=0, smooth_dr=0)
        assert_close(terms["dice_loss"], dice(logits, label.double()))


def test_is_the_cross_entropy_without_focus() -> None:
    logits, label = torch.randn(1, 2, 3, 4, 5), torch.randint(0, 2, (1, 1, 3, 4, 5)).byte()
    expected = torch.nn.functional.cross_entropy(logits, label[:, 0].long())
    assert_close(DiceFocalLoss(gamma=0).named(logits, label)["focal"], expected)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_easy_voxels_count_less(gamma: float) -> None:
    label = torch.zeros((1, 1, 1, 1, 1), dtype=torch.uint8)

    def share(score: float) -> float:
        logits = torch.tensor([score, 0.0]).view(1, 2, 1, 1, 1)
        focal = DiceFocalLoss(gamma=gamma).named(logits, label)["focal"]
        return float(focal / DiceFocalLoss(gamma=0).named(logits, label)["focal"])

    assert share(0.0) == pytest.approx(0.5**gamma)
    assert share(3.0) < share(0.0) < share(-3.0)
