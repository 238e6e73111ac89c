"""Segmenters average their probabilities, and only those that see the same voxels may."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from hilum.core.errors import CheckpointError, SettingsError
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.ensemble import Ensemble, load_predictor, segmenter_folders
from hilum.segmenter.segmenter import Segmenter

Make = Callable[..., SegmenterConfig]


def segmenter(config: Make, seed: int, **changes: object) -> Segmenter:
    torch.manual_seed(seed)
    return Segmenter(config(prior=0.3, **changes)).eval()


def test_an_ensemble_gives_the_mean_of_the_probabilities(config: Make) -> None:
    members = [segmenter(config, seed) for seed in range(3)]
    image, available = torch.randn(2, 2, 8, 12, 16), torch.tensor([[True, True], [True, False]])
    with torch.no_grad():
        got = Ensemble(members).eval()(image, available)[0].softmax(1)
        expected = sum(member(image, available)[0].softmax(1) for member in members) / 3
    assert_close(got, expected)


def test_members_may_be_built_differently(config: Make) -> None:
    members = [segmenter(config, 0), segmenter(config, 1, fusion={"name": "late"})]
    assert Ensemble(members).classes == 2


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"modalities": ("pet", "ct")}, r"modalities, found \('ct', 'pet'\) in a, \('pet', 'ct'\)"),
        ({"classes": 3}, "classes, found 2 in a, 3 in b"),
        ({"spacing": (4.0, 4.0, 3.0)}, "spacing"),
        ({"patch": (8, 12, 24)}, "window"),
        ({"preparation": {"order": 3}}, "preparation"),
    ],
)
def test_segmenters_that_see_other_voxels_are_one_clear_error(
    changes: dict[str, object], what: str, config: Make
) -> None:
    members = [segmenter(config, 0), segmenter(config, 0, **changes)]
    with pytest.raises(SettingsError, match=rf"must agree on {what}.*leave b out"):
        Ensemble(members, ["a", "b"])


def test_a_folder_of_folds_is_an_ensemble_and_one_segmenter_is_itself(
    config: Make, tmp_path: Path
) -> None:
    for fold in range(2):
        segmenter(config, fold).save(tmp_path / "folds" / f"fold_{fold}" / "segmenter")
    both = load_predictor(tmp_path / "folds")
    assert isinstance(both, Ensemble)
    assert len(both.members) == 2
    run = tmp_path / "folds" / "fold_1"
    assert isinstance(load_predictor(run), Segmenter)
    assert len(Ensemble.from_pretrained(run / "segmenter", tmp_path / "folds").members) == 3
    assert segmenter_folders(run) == [run / "segmenter"]


def test_a_folder_without_segmenters_is_a_clear_error(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(CheckpointError, match=r"must hold config\.json.*hilum finetune"):
            load_predictor(folder)
    with pytest.raises(SettingsError, match="a segmenter or more"):
        Ensemble([])
