"""A coarse level is compared with whole voxels of the label."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hilum.core.errors import SettingsError
from hilum.core.settings import load
from hilum.finetune.settings import FinetuneSettings
from hilum.losses.base import at_resolution


def settings(*overrides: str, **values: Any) -> FinetuneSettings:
    return load(FinetuneSettings, [], list(overrides), store="store", **values)


def test_a_coarse_label_takes_whole_voxels_so_that_unknown_stays_unknown() -> None:
    label = torch.zeros((1, 1, 4, 4, 6), dtype=torch.uint8)
    label[0, 0, 1, 1, 1::2] = torch.tensor([1, 255, 2], dtype=torch.uint8)
    assert at_resolution(label, (2, 2, 3))[0, 0, 0, 0].tolist() == [1, 255, 2]


def test_a_loss_without_a_name_is_dice_and_cross_entropy() -> None:
    assert settings().loss == {"name": "dice_ce"}
    assert settings("loss.batch_dice=false").loss == {"name": "dice_ce", "batch_dice": False}
    assert settings("loss.name=tversky", "loss.alpha=0.2").loss == {"name": "tversky", "alpha": 0.2}


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ({"name": "tverski"}, "did you mean 'tversky'"),
        ({"name": "tversky", "gama": 1}, "'tversky' has no 'gama'"),
        ({"focal": 1}, "'dice_ce' has no 'focal'"),
        ({"name": "tversky", "beta": 0}, "beta must be above 0"),
        ({"name": "focal_tversky", "gamma": 0}, "gamma must be above 0"),
        ({"name": "unified_focal", "delta": 1}, "delta must lie between 0 and 1"),
        ({"dice": 0, "cross_entropy": 0}, "must have a weight above 0"),
    ],
)
def test_a_wrong_loss_is_found_in_the_settings(loss: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings(loss=loss)
