"""Mean and deviation are those of the field of view, however many slabs are read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.transforms.intensity.array import NormalizeIntensity
from numpy.testing import assert_allclose

from hilum.core.input_scale import standardise
from hilum.datasets.store import moments as module
from hilum.datasets.store.moments import moments


def volumes() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    images = generator.normal([[[[1000.0]]], [[[2.0]]]], [[[[300]]], [[[1]]]], (2, 9, 5, 7))
    regions = generator.integers(0, 8, (9, 5, 7)).astype(np.uint8)
    return images.astype(np.float16), regions


@pytest.mark.parametrize("at_once", [1, 70, 2**24])
@pytest.mark.parametrize("row", [0, 1])
def test_equal_to_monai_inside_of_the_field_of_view(
    monkeypatch: pytest.MonkeyPatch, at_once: int, row: int
) -> None:
    monkeypatch.setattr(module, "VOXELS_AT_ONCE", at_once)
    images, regions = volumes()
    inside = images[row][(regions & (2 << row)) > 0].astype(np.float64)
    theirs = NormalizeIntensity(dtype=np.float64)(torch.from_numpy(inside))
    ours = standardise(inside, *moments(images, regions, row))
    assert_allclose(ours, np.asarray(theirs), rtol=0, atol=1e-6)


def test_a_volume_of_one_value_becomes_zeros_and_none_is_left_alone() -> None:
    images, regions = volumes()
    images[1] = 2.5
    mean, deviation = moments(images, regions, 1)
    assert (mean, deviation) == (2.5, 1e-8)
    assert moments(images, regions & 1, 1) == (0.0, 1.0)
