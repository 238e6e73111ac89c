"""The Tversky loss equals MONAI's, and is Dice at equal weights of a half."""

from __future__ import annotations

import pytest
import torch
from monai.losses.tversky import TverskyLoss as MonaiTversky
from torch import Tensor
from torch.testing import assert_close

from hilum.losses.dice_ce import DiceCeLoss
from hilum.losses.tversky import TverskyLoss


@pytest.fixture
def sample() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 6, 5, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, 3, (2, 1, 4, 6, 5), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize(("alpha", "beta"), [(0.3, 0.7), (0.9, 0.2), (0.0, 1.0)])
def test_equals_monai(
    alpha: float, beta: float, batch: bool, sample: tuple[Tensor, Tensor]
) -> None:
    logits, label = sample
    monai = MonaiTversky(
        include_background=False,
        to_onehot_y=True,
        softmax=True,
        alpha=alpha,
        beta=beta,
        smooth_nr=0,
        smooth_dr=0,
        batch=batch,
    )
    ours = TverskyLoss(alpha=alpha, beta=beta, batch=batch).named(logits, label)["tversky"]
    assert_close(ours, monai(logits, label.double()))


@pytest.mark.parametrize("batch", [False, True])
def test_is_dice_at_halves(batch: bool, sample: tuple[Tensor, Tensor]) -> None:
    ours = TverskyLoss(alpha=0.5, beta=0.5, batch=batch)([sample[0]], sample[1])[0]
    assert_close(ours, DiceCeLoss(batch_dice=batch)([sample[0]], sample[1])[0])


def test_misses_cost_more_than_false_alarms() -> None:
    label = torch.zeros((1, 1, 3, 4, 5), dtype=torch.uint8)
    label[0, 0, 1:, 1:3, 1:3] = 1
    hot = torch.nn.functional.one_hot(label[:, 0].long(), 2).movedim(-1, 1).float() * 50
    missed, alarmed = hot.clone(), hot.clone()
    missed[0, :, 1, 1, 1] = torch.tensor([50.0, 0.0])
    alarmed[0, :, 0, 0, 0] = torch.tensor([0.0, 50.0])
    loss = TverskyLoss(cross_entropy=0)
    assert float(loss([missed], label)[0]) == pytest.approx(1 - 7 / (7 + 0.7))
    assert float(loss([alarmed], label)[0]) == pytest.approx(1 - 8 / (8 + 0.3))
