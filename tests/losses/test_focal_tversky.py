"""The focal Tversky loss is a power of the Tversky loss of each class."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from hilum.losses.focal_tversky import FocalTverskyLoss, powered
from hilum.losses.tversky import TverskyLoss

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(2, 3, 4, 6, 5, generator=GENERATOR, dtype=torch.float64)
LABEL = torch.randint(0, 3, (2, 1, 4, 6, 5), generator=GENERATOR, dtype=torch.uint8)


@pytest.mark.parametrize("gamma", [0.5, 0.75, 4 / 3])
def test_equals_the_formula_class_by_class(gamma: float) -> None:
    p = LOGITS.softmax(1)
    expected = []
    for case in range(2):
        for c in (1, 2):
            g = (LABEL[case, 0] == c).double()
            tp = float((p[case, c] * g).sum())
            fp = float((p[case, c] * (1 - g)).sum())
            fn = float(((1 - p[case, c]) * g).sum())
            expected.append((1 - tp / (tp + 0.2 * fp + 0.6 * fn)) ** gamma)
    loss = FocalTverskyLoss(alpha=0.2, beta=0.6, gamma=gamma, batch=False)
    assert float(loss.named(LOGITS, LABEL)["focal_tversky"]) == pytest.approx(sum(expected) / 4)


def test_is_the_tversky_loss_at_an_exponent_of_one() -> None:
    one, other = FocalTverskyLoss(gamma=1.0), TverskyLoss()
    assert_close(one([LOGITS], LABEL)[0], other([LOGITS], LABEL)[0])


def test_the_power_is_continuous_and_has_a_slope_at_zero() -> None:
    x = torch.tensor([-1e-7, 0.0, 1e-7, 1e-6, 0.3], dtype=torch.float64, requires_grad=True)
    y = powered(x, 0.5)
    y.sum().backward()
    assert_close(y.detach(), torch.tensor([0, 0, 1e-4, 1e-3, 0.3**0.5], dtype=torch.float64))
    assert x.grad is not None
    assert x.grad.isfinite().all()
