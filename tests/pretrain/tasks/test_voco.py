"""VoCo predicts the share of a crop that lies in each of its neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.pretrain.tasks.voco import Voco, overlaps


def make(made: Any, **params: Any) -> Voco:
    return Voco(encoder=made.encoder(), modalities=("ct", "pet"), width=8, **params).eval()


def test_an_overlap_is_the_share_of_voxels(made: Any) -> None:
    sides, corners = make(made, grid=(2, 2, 2)).base((8, 16, 12))
    assert sides == (4, 8, 6)
    assert len(corners) == 8
    for place in ((0, 0, 0), (1, 3, 2), (4, 8, 6), (3, 0, 5)):
        one = np.zeros((8, 16, 12), bool)
        one[tuple(slice(p, p + s) for p, s in zip(place, sides, strict=True))] = True
        shares = []
        for corner in corners:
            two = np.zeros_like(one)
            two[tuple(slice(c, c + s) for c, s in zip(corner, sides, strict=True))] = True
            shares.append((one & two).sum() / one.sum())
        assert_close(overlaps(place, sides, corners), torch.tensor(shares, dtype=torch.float32))
        assert abs(sum(shares) - 1) < 1e-9, "the grid covers everything"


def test_the_loss_is_the_formula_by_hand(made: Any) -> None:
    task, batch = make(made, randoms=1), made.batch()
    with torch.no_grad():
        for parameter in task.encoder.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    sides, corners = task.base(batch.image.shape[2:])
    places = task.draw(batch, sides)

    def cut(row: int, place: tuple[int, int, int]) -> torch.Tensor:
        d, h, w = (slice(p, p + s) for p, s in zip(place, sides, strict=True))
        return batch.image[row : row + 1, :, d, h, w]

    own = task.teacher.network
    total, apart = [], []
    for row in range(4):
        key = task.projection(task.encoder(cut(row, places[row]))[-1].mean((2, 3, 4)))[0]
        ours = []
        for corner, share in zip(corners, overlaps(places[row], sides, corners), strict=True):
            crop = cut(row, corner)
            base = own["projection"](own["encoder"](crop)[-1].mean((2, 3, 4)))[0]  # pyright: ignore
            likeness = torch.relu(base @ key)
            total.append(-(1 - (share - likeness).abs()).log())
            ours.append(task.projection(task.encoder(crop)[-1].mean((2, 3, 4)))[0])
        apart += [torch.relu(a @ b) for i, a in enumerate(ours) for b in ours[:i]]
    loss, terms = task.loss(made.batch())
    assert_close(terms["overlap"], torch.stack(total).mean().detach(), rtol=1e-4, atol=1e-5)
    assert_close(terms["apart"], torch.stack(apart).mean().detach(), rtol=1e-4, atol=1e-5)
    assert_close(loss.detach(), terms["overlap"] + terms["apart"])


def test_patches_that_the_grid_does_not_fit_are_refused(made: Any) -> None:
    with pytest.raises(SettingsError, match="the grid must divide the patch"):
        make(made, grid=(3, 2, 2)).check_patch((8, 16, 16))
    with pytest.raises(SettingsError, match="divisible by"):
        make(made, grid=(8, 2, 2)).check_patch((8, 16, 16))
    with pytest.raises(SettingsError, match="not all 1"):
        make(made, grid=(1, 1, 1))
    with pytest.raises(SettingsError, match="randoms must be at least 1"):
        make(made, randoms=0)
