"""Regions become one mask as nnU-Net writes it, and are read from it again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.core.geometry import Grid
from hilum.core.settings import validate
from hilum.segmenter.calibration.choose import ChoiceSettings, dice_of_case
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.ensemble import Ensemble
from hilum.segmenter.operating.apply import clean, decide, tempered
from hilum.segmenter.operating.point import ARGMAX, OperatingPoint
from hilum.segmenter.operating.probability import probability_of
from hilum.segmenter.operating.regions import Regions, in_view, looked_for_in
from hilum.segmenter.segmenter import Segmenter

NESTED = Regions.of({"whole": (1, 2, 3), "core": (2, 3), "hot": (3,)})


def probabilities() -> np.ndarray:
    return np.random.default_rng(0).random((3, 4, 5, 6)).astype(np.float32)


def by_nnunet(found: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """Return what `LabelManager.convert_probabilities_to_segmentation` of nnU-Net v2 does."""
    segmentation = np.zeros(found.shape[1:], dtype=np.uint16)
    for i, c in enumerate(order):
        segmentation[found[i] > 0.5] = c
    return segmentation


def test_a_mask_is_written_as_nnunet_does() -> None:
    found = probabilities()
    assert NESTED.order == (1, 2, 3)
    np.testing.assert_array_equal(decide(found, ARGMAX, None, NESTED), by_nnunet(found, (1, 2, 3)))
    other = Regions.of({"a": (1, 4), "b": (4, 2)}, (1, 4))
    np.testing.assert_array_equal(
        decide(found[:2], ARGMAX, None, other), by_nnunet(found[:2], (1, 4))
    )


def test_each_region_has_its_threshold() -> None:
    found = probabilities()
    point = validate(OperatingPoint, {"thresholds": (0.2, 0.6, 0.9)})
    mask = decide(found, point, None, NESTED)
    np.testing.assert_array_equal(mask == 3, found[2] > 0.9)
    np.testing.assert_array_equal(mask == 2, (found[1] > 0.6) & (found[2] <= 0.9))


def test_a_region_is_read_from_a_mask_with_what_is_unknown() -> None:
    label = np.array([[[0, 1, 2, 3, 255]]], np.uint8)
    assert in_view(label, NESTED, 2)[0].tolist() == [[[0, 0, 1, 1, 255]]]
    assert in_view(label, NESTED, 1)[1] == 1
    assert in_view(label, None, 2) == (label, 2)
    table = NESTED.membership()
    assert table[:4].tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 1]]


@pytest.mark.parametrize(
    ("annotated", "found"),
    [((), ()), ((1, 2, 3), ()), ((3,), (3,)), ((2, 3), (2, 3)), ((1,), (0,)), ((1, 3), (3,))],
)
def test_a_region_is_known_if_each_of_its_values_is(
    annotated: tuple[int, ...], found: tuple[int, ...]
) -> None:
    assert looked_for_in(annotated, NESTED) == found
    assert looked_for_in(annotated, None) == annotated


def test_components_are_those_of_the_union() -> None:
    """A rim of three voxels around a core is one piece of 5 voxels, not a small rim."""
    mask = np.zeros((1, 1, 12), np.uint8)
    mask[..., 1:6] = 1, 2, 2, 1, 1
    mask[..., 9] = 2
    grid = Grid.from_spacing((1, 1, 12), (10, 10, 10))
    point = validate(OperatingPoint, {"min_volume_ml": 2.0})
    regions = Regions.of({"whole": (1, 2), "core": (2,)})
    clean(mask, grid, point, None, regions)
    assert mask[0, 0].tolist() == [0, 1, 2, 2, 1, 1, 0, 0, 0, 0, 0, 0]


def test_one_region_is_a_class() -> None:
    logits = torch.randn(2, 2, 3, 3, 3)
    assert_close(probability_of(logits, True), logits.softmax(1))
    one, regions = torch.randn(2, 3, 2, 2, 2).sigmoid(), torch.randn(2, 3, 2, 2, 2)
    found = probability_of(regions, True)
    assert_close(found[:, 1:], 1 / (1 + (regions[:, :1] - regions[:, 1:]).exp()))
    assert_close(found[:, 0], 1 - found[:, 1:].max(1).values)
    assert_close(torch.from_numpy(tempered(one[0].numpy(), 1.0, True)), one[0])
    warm = tempered(found[0].numpy(), 2.0, True)
    expected = torch.sigmoid((regions[0, 1:] - regions[0, :1]) / 2)
    assert_close(torch.from_numpy(warm[1:]), expected, rtol=1e-5, atol=1e-6)


def test_a_point_is_chosen_for_each_region() -> None:
    label = np.random.default_rng(1).integers(0, 4, (6, 6, 6)).astype(np.uint8)
    label[0, 0] = 255
    found = np.random.default_rng(2).random((4, 6, 6, 6)).astype(np.float32)
    settings = validate(ChoiceSettings, {"volumes_ml": (0,)})
    table = dice_of_case(found, label, 1.0, settings, None, NESTED)
    for number, values in enumerate(NESTED.values):
        truth = np.isin(label, values)
        known = label != 255
        ours = (found[number + 1] > 0.5) & known
        dice = 2 * np.count_nonzero(ours & truth) / (ours.sum() + truth.sum())
        assert table[number, 0, 0, 0] == pytest.approx(dice)


def test_an_ensemble_averages_probabilities_of_regions(
    config: Callable[..., SegmenterConfig],
) -> None:
    about = {"classes": 3, "names": ("whole", "core"), "regions": {"whole": (1, 2), "core": (2,)}}
    members = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        members.append(Segmenter(config(**about)).eval())
    image, available = torch.randn(1, 2, 8, 12, 16), torch.ones(1, 2, dtype=torch.bool)
    with torch.no_grad():
        each = [probability_of(member(image, available)[0], True) for member in members]
        ours = probability_of(Ensemble(members)(image, available)[0], True)
    assert_close(ours[:, 1:], (each[0][:, 1:] + each[1][:, 1:]) / 2, rtol=1e-4, atol=1e-5)
    with pytest.raises(SettingsError, match="must agree on regions"):
        Ensemble([members[0], Segmenter(config(classes=3, names=("whole", "core")))])


@pytest.mark.parametrize(
    ("regions", "order", "why"),
    [
        ({"a": ()}, (), "region a must have values"),
        ({"a": (0, 1)}, (), "region a must have values"),
        ({"a": (1,), "b": (1,)}, (), "must differ"),
        ({"core": (2,), "whole": (1, 2)}, (), "larger regions first"),
        ({"a": (1,)}, (1, 2), "must have 1 values"),
        ({"a": (1,), "b": (2,)}, (2, 1), "must write one of its values"),
    ],
)
def test_nonsense_is_refused(
    regions: dict[str, tuple[int, ...]], order: tuple[int, ...], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        Regions.of(regions, order)
