"""A MONAI bundle decides as the operating point says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from hilum.core.settings import validate
from hilum.exchange.networks_out.bundle_decision import decision, tempering
from hilum.segmenter.operating.apply import decide, tempered
from hilum.segmenter.operating.point import OperatingPoint


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
    steps = [*tempering(point), decision(point)]
    parser = ConfigParser(
        {"imports": ["$import torch"], "after": {"_target_": "Compose", "transforms": steps}}
    )
    parser.parse()
    parser.get_parsed_content("imports")
    found = parser.get_parsed_content("after")({"pred": probability})["pred"]
    cooled = tempered(probability.numpy(), point.temperature)
    np.testing.assert_array_equal(np.asarray(found)[0], decide(cooled[1:], point, cooled[0]))
