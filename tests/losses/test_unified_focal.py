"""Both parts of the unified focal loss equal MONAI's, for two classes."""

from __future__ import annotations

import pytest
import torch
from monai.losses.unified_focal_loss import AsymmetricFocalLoss, AsymmetricFocalTverskyLoss
from torch.testing import assert_close

from hilum.losses.unified_focal import UnifiedFocalLoss

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(2, 2, 4, 6, 5, generator=GENERATOR, dtype=torch.float64)
LABEL = torch.randint(0, 2, (2, 1, 4, 6, 5), generator=GENERATOR, dtype=torch.uint8)


@pytest.mark.parametrize(("delta", "gamma"), [(0.6, 0.5), (0.7, 0.2)])
def test_the_parts_equal_monai(delta: float, gamma: float) -> None:
    terms = UnifiedFocalLoss(delta=delta, gamma=gamma, batch=False).named(LOGITS, LABEL)
    probability = LOGITS.softmax(1)
    region = AsymmetricFocalTverskyLoss(to_onehot_y=True, delta=delta, gamma=gamma)
    voxels = AsymmetricFocalLoss(to_onehot_y=True, delta=delta, gamma=gamma)
    assert_close(terms["focal_tversky"], region(probability, LABEL.double()), rtol=1e-5, atol=1e-6)
    # MONAI's mean is over the two classes, too.
    assert_close(terms["focal"], 2 * voxels(probability, LABEL.double()), rtol=1e-5, atol=1e-6)


def test_the_parts_are_mixed_by_the_weight() -> None:
    loss = UnifiedFocalLoss(weight=0.2)
    terms = loss.named(LOGITS, LABEL)
    expected = 0.2 * terms["focal"] + 0.8 * terms["focal_tversky"]
    assert_close(loss([LOGITS], LABEL)[0], expected, check_dtype=False)


def test_an_absent_class_is_left_out_of_the_mean() -> None:
    wide = torch.cat([LOGITS, torch.full_like(LOGITS[:, :1], -50.0)], 1)
    for batch in (False, True):
        loss = UnifiedFocalLoss(batch=batch)
        one = loss.named(wide, LABEL)["focal_tversky"]
        assert_close(one, loss.named(LOGITS, LABEL)["focal_tversky"])
