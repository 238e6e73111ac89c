"""A MONAI bundle decides as the operating point says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor

from hilum.core.geometry import Grid
from hilum.core.settings import validate
from hilum.exchange.networks_out.bundle_decision import (
    decision,
    filtering,
    not_expressed,
    probabilities,
    tempering,
)
from hilum.exchange.networks_out.bundle_readme import readme
from hilum.segmenter.inference.settings import InferenceSettings
from hilum.segmenter.operating.apply import clean, decide, tempered
from hilum.segmenter.operating.point import OperatingPoint
from hilum.segmenter.operating.probability import probability_of
from hilum.segmenter.operating.regions import Regions
from hilum.segmenter.segmenter import Segmenter


def run(steps: list[dict[str, Any]], pred: Any) -> Any:
    """Return what a bundle makes of a prediction."""
    imports = ["$import torch", "$import numpy as np", "$from scipy import ndimage"]
    after = {"_target_": "Compose", "transforms": steps}
    parser = ConfigParser({"imports": imports, "after": after})
    parser.parse()
    parser.get_parsed_content("imports")
    return parser.get_parsed_content("after")({"pred": pred})["pred"]


@pytest.mark.parametrize(
    "values",
    [
        {"fill_holes": True},
        {"min_volume_ml": 0.1},
        {"at_most": 2},
        {"max_volume_ml": 0.1},
        {"min_volume_ml": 0.03, "max_volume_ml": 0.2, "at_most": 2},
        {"fill_holes": True, "min_volume_ml": 0.05, "at_most": 3},
        {"suv_floor": 3, "min_volume_ml": 0.5, "at_most": 4},
    ],
)
def test_components_are_those_of_the_point(values: dict[str, Any]) -> None:
    point = validate(OperatingPoint, values)
    grid = Grid.from_spacing((9, 10, 11), (2.0, 3.0, 2.5))
    draw = np.random.default_rng(1)
    mask = draw.choice(np.array([0, 1, 2], np.uint8), grid.shape, p=[0.8, 0.12, 0.08])
    mask[1:6, 1:6, 1:6], mask[3, 3, 3] = 1, 0
    image = MetaTensor(torch.from_numpy(mask)[None].float(), affine=torch.from_numpy(grid.affine))
    found = np.asarray(run(filtering(point, 3), image))[0]
    # Without its floor a point drops nothing by volume, and the bundle says so.
    told = point.model_copy(update={"suv_floor": None, "min_volume_ml": 0.0})
    expected = mask.copy()
    clean(expected, grid, told if point.suv_floor else point)
    np.testing.assert_array_equal(found, expected)
    assert (expected != mask).any()
    assert ("SUV floor of 3" in not_expressed(point)) == bool(point.suv_floor)


NESTED = Regions.of({"whole": (4, 2), "core": (2,), "rim": (7, 4)}, (4, 2, 7))
"""Values that are no numbers of channels, and two regions that cross."""


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"thresholds": (0.3, 0.6, 0.8), "temperature": 1.6},
        {"min_volume_ml": 0.1, "max_volume_ml": 0.5},
        {"fill_holes": True, "at_most": 1, "thresholds": (0.4, 0.5, 0.9)},
    ],
)
def test_regions_are_decided_each_by_itself(values: dict[str, Any]) -> None:
    point = validate(OperatingPoint, values)
    grid = Grid.from_spacing((9, 10, 11), (2.0, 3.0, 2.5))
    logits = 3 * torch.randn((1, 4, *grid.shape), generator=torch.Generator().manual_seed(3))
    logits = torch.nn.functional.avg_pool3d(logits, 3, 1, 1) * 3
    own = eval(f"lambda z: {probabilities(True)}", {"torch": torch})(logits)
    probability = probability_of(logits, True)
    torch.testing.assert_close(own, probability)
    image = MetaTensor(probability[0], affine=torch.from_numpy(grid.affine))
    steps = [tempering(point, True), [decision(point, NESTED)], filtering(point, 4, NESTED)]
    found = np.asarray(run([step for part in steps for step in part], image))
    warm = tempered(probability[0].numpy(), point.temperature, True)
    expected = decide(warm[1:], point, warm[0], NESTED)
    before = expected.copy()
    clean(expected, grid, point, None, NESTED)
    assert found.shape == (1, *grid.shape)
    np.testing.assert_array_equal(found[0], expected)
    assert len(np.unique(before)) == 4
    assert (before != expected).any() == point.filters


def test_classes_have_a_softmax() -> None:
    z = torch.randn(2, 3, 2, 2, 2)
    own = eval(f"lambda z: {probabilities(False)}", {"torch": torch})(z)
    torch.testing.assert_close(own, probability_of(z, False))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"thresholds": (0.2, 0.7)},
        {"thresholds": (0.2, 0.7), "temperature": 1.7},
        {"temperature": 0.6, "thresholds": (0.5, 0.1)},
    ],
)
def test_the_mask_is_that_of_the_point(values: dict[str, Any]) -> None:
    point = validate(OperatingPoint, values)
    generator = torch.Generator().manual_seed(0)
    probability = (2 * torch.randn((3, 4, 5, 6), generator=generator)).softmax(0)
    found = run([*tempering(point), decision(point)], probability)
    cooled = tempered(probability.numpy(), point.temperature)
    np.testing.assert_array_equal(np.asarray(found)[0], decide(cooled[1:], point, cooled[0]))


@pytest.mark.parametrize("flips", ["none", "w"])
@pytest.mark.parametrize("regions", [None, NESTED])
def test_a_bundle_says_how_it_decides_and_that_it_predicts_no_mirror_images(
    flips: str, regions: Regions | None
) -> None:
    config = SimpleNamespace(
        operating_point=OperatingPoint(),
        inference=validate(InferenceSettings, {"flips": flips}),
        overlapping=regions,
    )
    text = readme(Mock(spec=Segmenter, modalities=("ct",), config=config))
    assert ("Mirror images" in text) == (flips != "none")
    assert ("most probable class" in text) == (regions is None)
    assert ("each region above 0.5" in text) == (regions is not None)
