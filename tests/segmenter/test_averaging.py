"""A mean of segmenters is the mean of their weights, and only alike ones have a mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from hilum.core.errors import CheckpointError, SettingsError
from hilum.core.weights import read_weights
from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.averaging import average, dice_on, mean_of
from hilum.segmenter.config import SegmenterConfig, read_segmenter_config
from hilum.segmenter.operating.point import OperatingPoint
from hilum.segmenter.segmenter import Segmenter

from ..weights_files import put_weights

Make = Callable[..., SegmenterConfig]


@pytest.fixture
def folders(config: Make, tmp_path: Path) -> list[Path]:
    made = []
    for seed in range(3):
        torch.manual_seed(seed)
        made.append(Segmenter(config()).save(tmp_path / f"run_{seed}"))
    return made


def test_a_uniform_average_is_the_mean_by_hand(folders: list[Path], tmp_path: Path) -> None:
    out = average(folders, tmp_path / "mean")
    ours = load_file(out / "model.safetensors")
    parts = [load_file(folder / "model.safetensors") for folder in folders]
    assert ours.keys() == parts[0].keys()
    for name, value in ours.items():
        by_hand = (parts[0][name].astype(float) + parts[1][name] + parts[2][name]) / 3
        np.testing.assert_allclose(value, by_hand, rtol=1e-6, atol=1e-8)
    extra = read_segmenter_config(out).extra
    assert extra["average"] == {"method": "uniform", "of": [str(f) for f in folders]}
    Segmenter.from_pretrained(out)


def test_the_average_of_one_is_itself(folders: list[Path], tmp_path: Path) -> None:
    ours = read_weights(average(folders[:1], tmp_path / "mean"))
    assert all(torch.equal(ours[n], v) for n, v in read_weights(folders[0]).items())


def test_greedy_keeps_a_member_only_if_the_score_does_not_fall(
    folders: list[Path], tmp_path: Path
) -> None:
    """The score is the closeness to the second run, so the first helps it not, nor the third."""
    weights = [read_weights(folder) for folder in folders]
    # The third is the second but for a little, and the target lies between the two.
    near = {n: v + 0.02 for n, v in weights[1].items()}
    put_weights(folders[2], near)
    target = {n: v + 0.008 for n, v in weights[1].items()}
    asked: list[float] = []

    def score(segmenter: Segmenter) -> float:
        state = segmenter.state_dict()
        asked.append(-max(float((state[n] - v).abs().max()) for n, v in target.items()))
        return asked[-1]

    out = average(folders, tmp_path / "mean", method="greedy", score=score)
    of = read_segmenter_config(out).extra["average"]["of"]
    assert of == [str(folders[1]), str(folders[2])]
    assert len(asked) == 3 + 2
    expected = mean_of([weights[1], near])
    assert all(torch.allclose(v, expected[n]) for n, v in read_weights(out).items())


def test_members_are_scored_as_their_mean_will_predict(config: Make, tmp_path: Path) -> None:
    """Not at the point that was chosen for the first of them."""
    point = OperatingPoint(thresholds=(0.9,), min_volume_ml=1.0)
    for seed in range(2):
        torch.manual_seed(seed)
        Segmenter(config(operating_point=point)).save(tmp_path / f"run_{seed}")
    points = []

    def score(segmenter: Segmenter) -> float:
        points.append(segmenter.config.operating_point)
        return 0.5

    runs = [tmp_path / "run_0", tmp_path / "run_1"]
    out = average(runs, tmp_path / "mean", method="greedy", score=score)
    assert points == [read_segmenter_config(out).operating_point] * 3
    assert points[0] != point


def test_integers_are_not_averaged() -> None:
    one = {"steps": torch.tensor(3), "w": torch.tensor([1.0])}
    other = {"steps": torch.tensor(6), "w": torch.tensor([2.0])}
    mean = mean_of([one, other])
    assert mean["steps"] == 3
    assert mean["w"] == 1.5


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"encoder": {"name": "resenc", "features": [4, 8], "blocks": [1, 1]}}, "encoder"),
        ({"fusion": {"name": "late"}}, "fusion"),
        ({"modalities": ("pet", "ct")}, "modalities"),
        ({"classes": 3}, "classes"),
        ({"spacing": (2.0, 2.0, 2.0)}, "spacing"),
    ],
)
def test_other_architectures_are_refused(
    changes: dict[str, object], key: str, folders: list[Path], config: Make, tmp_path: Path
) -> None:
    other = Segmenter(config(**changes)).save(tmp_path / "other")
    with pytest.raises(CheckpointError, match=f"must have the same {key}") as caught:
        average([folders[0], other], tmp_path / "mean")
    assert str(other) in str(caught.value)
    assert not (tmp_path / "mean").exists()


def test_foreign_weights_under_the_same_config_are_refused(
    folders: list[Path], tmp_path: Path
) -> None:
    weights = read_weights(folders[1])
    weights["more"] = weights.pop(next(iter(weights)))
    put_weights(folders[1], weights)
    with pytest.raises(CheckpointError, match="2 others"):
        average(folders, tmp_path / "mean")


def test_an_average_needs_members_and_a_score(folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="a segmenter folder or more"):
        average([], tmp_path / "mean")
    with pytest.raises(SettingsError, match="needs a score"):
        average(folders, tmp_path / "mean", method="greedy")


def test_dice_on_is_the_dice_of_whole_cases(threshold: Segmenter, store: CaseStore) -> None:
    assert dice_on(store, ["case_0"])(threshold) == 1.0
    case = store["case_5"]  # without PET: CT above 55 HU
    mask, truth = np.asarray(case.images[0], float) > 55, np.asarray(case.label) == 1
    expected = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
    both = dice_on(store, ["case_0", "case_5"])(threshold)
    assert both == pytest.approx((1 + expected) / 2)
