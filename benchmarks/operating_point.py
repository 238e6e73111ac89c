"""What an operating point costs, as a part of a prediction.

`python benchmarks/operating_point.py` predicts a prepared case by a small network, and makes a mask
of its probabilities at the default and at a point with a temperature, a threshold, holes filled, a
minimum volume and a largest number, in turn. `cost` is what the point takes longer than the
default, as a part of the whole prediction, in process time. The network is as small as hilum's
presets go: with any larger one the point costs a smaller part.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import torch
from timing import QUICK, write

from hilum.core.connected_components import components
from hilum.core.geometry import Grid
from hilum.core.settings import validate
from hilum.datasets.store.case_store import PreparedCase
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.inference.predict_case import predict_case
from hilum.segmenter.operating.apply import mask_of, tempered
from hilum.segmenter.operating.point import ARGMAX, OperatingPoint
from hilum.segmenter.segmenter import Segmenter

SIDES = (64, 64, 64) if QUICK else (96, 128, 128)
POINT = validate(
    OperatingPoint,
    {
        "temperature": 1.3,
        "thresholds": (0.35,),
        "fill_holes": True,
        "min_volume_ml": 0.2,
        "at_most": 20,
    },
)


def case() -> PreparedCase:
    """Return a body with thirty hot nodes."""
    draw = np.random.default_rng(0)
    grid = Grid.from_spacing(SIDES, (3.0, 2.0, 2.0))
    ct = draw.normal(40, 20, SIDES)
    pet = draw.gamma(2, 0.5, SIDES)
    for _ in range(30):
        d, h, w = (int(draw.integers(4, side - 8)) for side in SIDES)
        pet[d : d + 4, h : h + 5, w : w + 5] += 8
    return PreparedCase(
        id="case",
        patient="patient",
        site="",
        split="",
        images=np.stack([ct, pet]).astype(np.float16),
        modalities=("ct", "pet"),
        regions=np.full(SIDES, 7, np.uint8),
        label=None,
        grid=grid,
        source_grid=grid,
        factors={},
        inputs={},
    )


def segmenter() -> Segmenter:
    """Return a network that begins as a rule on the uptake, so that there are components."""
    torch.manual_seed(0)
    values: dict[str, Any] = {
        "modalities": ("ct", "pet"),
        "encoder": {"name": "resenc", "size": "tiny"},
        "fusion": {"name": "early"},
        "patch": (64, 64, 64),
        "spacing": (3.0, 2.0, 2.0),
        "prior_rule": {"limit": 4.0},
    }
    return Segmenter(validate(SegmenterConfig, values)).eval()


def main() -> None:
    """Predict once or a few times, and decide many times, the default and the point in turn."""
    model, prepared = segmenter(), case()
    networks, plain, full = [], [], []
    for _ in range(1 if QUICK else 3):
        start = time.process_time()
        probability = predict_case(model, prepared)
        networks.append(time.process_time() - start)
    for _ in range(3 if QUICK else 9):
        start = time.process_time()
        mask_of(probability, prepared, ARGMAX)
        plain.append(time.process_time() - start)
        start = time.process_time()
        mask = mask_of(tempered(probability, POINT.temperature), prepared, POINT)
        full.append(time.process_time() - start)
    network, default, point = (statistics.median(own) for own in (networks, plain, full))
    row = {
        "what": "operating point",
        "sides": list(SIDES),
        "components": components(mask > 0)[1],
        "prediction_s": network + default,
        "default_s": default,
        "point_s": point,
        "cost": (point - default) / (network + default),
    }
    print(write("operating_point", "python benchmarks/operating_point.py", [row]))


if __name__ == "__main__":
    main()
