"""What every metric must keep; run by pytest, once for each `name`."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

import numpy as np
import pytest

from hilum.core.geometry import Grid
from hilum.evaluation.metrics.case import case_metrics
from hilum.evaluation.metrics.table import METRICS

TABLE = METRICS
GRID = Grid.from_spacing((10, 12, 14), (3.0, 2.0, 1.5))


def masks() -> tuple[np.ndarray, np.ndarray]:
    """Return prediction and reference: two nodes that overlap, one missed, one false positive."""
    prediction, reference = (np.zeros(GRID.shape, np.uint8) for _ in range(2))
    reference[2:6, 2:6, 2:7] = 1
    prediction[3:7, 2:6, 3:7] = 1
    reference[7:9, 8:11, 9:13] = 1
    prediction[7:9, 8:11, 9:12] = 1
    reference[1:3, 9:11, 2:4] = 1
    prediction[1:3, 2:4, 10:12] = 1
    return prediction, reference


def uptake() -> dict[str, np.ndarray]:
    return {"pet": np.random.default_rng(0).gamma(2, 2, GRID.shape).astype(np.float32)}


def value(
    name: str,
    prediction: np.ndarray,
    reference: np.ndarray,
    grid: Grid = GRID,
    volumes: Mapping[str, np.ndarray] | None = None,
) -> float:
    """Measure a case as `hilum evaluate` does, or skip what is not of masks alone."""
    metric = METRICS[name]
    if metric.pooled or metric.probability:
        pytest.skip("it is not measured on the masks of a case")
    scans = uptake() if volumes is None else volumes
    if metric.measure is None:
        scan = scans["pet"].tobytes() if scans else b""
        found = _ours(prediction.tobytes(), reference.tobytes(), grid.shape, grid.spacing, scan)
    else:
        found = _others(name, prediction, reference, grid, scans)
    if name not in found:
        pytest.skip("it is measured on nodes that are matched, not on masks")
    return found[name]


@functools.cache
def _ours(
    prediction: bytes,
    reference: bytes,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    pet: bytes,
) -> dict[str, float]:
    """Measure a case once for all metrics of ours, which share their work."""
    mask, truth = (np.frombuffer(x, np.uint8).reshape(shape) for x in (prediction, reference))
    scans = {"pet": np.frombuffer(pet, np.float32).reshape(shape)} if pet else {}
    return case_metrics(mask, truth, Grid.from_spacing(shape, spacing), scans)


def _others(
    name: str,
    prediction: np.ndarray,
    reference: np.ndarray,
    grid: Grid,
    volumes: Mapping[str, np.ndarray],
) -> dict[str, float]:
    """Measure a case with a metric of others; one that is named by its path is in no table."""
    added = name not in METRICS.registered
    if added:
        METRICS.registered[name] = METRICS[name]
    try:
        return case_metrics(prediction, reference, grid, volumes)
    finally:
        if added:
            del METRICS.registered[name]


def same(one: float, other: float) -> bool:
    return one == pytest.approx(other, rel=1e-6, abs=1e-9, nan_ok=True)


def test_it_says_what_it_is_and_what_it_is_when_a_mask_is_empty(name: str) -> None:
    metric = METRICS[name]
    for text in (metric.title, metric.definition, metric.empty):
        assert text.strip()
        assert "\n" not in text
    assert metric.better in ("higher", "lower", "neither")


def test_it_is_a_number_of_any_case_and_never_infinite(name: str) -> None:
    prediction, reference = masks()
    nothing = np.zeros_like(reference)
    for one, other in (
        (prediction, reference),
        (prediction, nothing),
        (nothing, reference),
        (nothing, nothing),
    ):
        found = value(name, one, other)
        assert isinstance(found, float)
        assert not math.isinf(found)


def test_where_nothing_is_known_it_is_undefined(name: str) -> None:
    """Undefined is not perfect."""
    prediction, reference = masks()
    for mask in (prediction, np.zeros_like(prediction)):
        assert math.isnan(value(name, mask, np.full_like(reference, 255)))


def test_it_leaves_what_it_is_given_alone_and_gives_the_same_again(name: str) -> None:
    prediction, reference = masks()
    volumes = uptake()
    before = [x.copy() for x in (prediction, reference, volumes["pet"])]
    first = value(name, prediction, reference, volumes=volumes)
    for x, kept in zip((prediction, reference, volumes["pet"]), before, strict=True):
        np.testing.assert_array_equal(x, kept)
    assert same(value(name, prediction, reference, volumes=volumes), first)
    if measure := METRICS[name].measure:  # the masks that it is given are those of others, too
        given = prediction == 1, reference == 1
        for x in (*given, *volumes.values()):
            x.setflags(write=False)
        assert same(measure(*given, GRID, volumes), first)


def test_no_prediction_is_better_than_the_reference_itself(name: str) -> None:
    better = METRICS[name].better
    if better == "neither":
        pytest.skip("no direction is better")
    prediction, reference = masks()
    perfect, other = value(name, reference, reference), value(name, prediction, reference)
    if math.isnan(perfect):
        pytest.skip("it is undefined for this case")
    assert perfect >= other if better == "higher" else perfect <= other


def test_voxels_that_are_unknown_count_in_neither_mask(name: str) -> None:
    prediction, reference = masks()
    reference[0:4, 7:12, 0:6] = 255
    more = prediction.copy()
    more[1:3, 8:11, 1:4] = 1
    assert same(value(name, more, reference), value(name, prediction, reference))


def test_a_mirrored_case_has_the_same_value(name: str) -> None:
    prediction, reference = masks()
    volumes = uptake()
    one, two = (np.ascontiguousarray(x[::-1, ::-1, ::-1]) for x in (prediction, reference))
    other = {key: np.ascontiguousarray(x[::-1, ::-1, ::-1]) for key, x in volumes.items()}
    assert same(value(name, one, two, volumes=other), value(name, prediction, reference))


def test_lengths_are_in_mm_whichever_axis_they_lie_on(name: str) -> None:
    """Height and width change places, with their spacing; slices stay slices."""
    prediction, reference = masks()
    (d, h, w), (z, y, x) = GRID.shape, GRID.spacing
    grid = Grid.from_spacing((d, w, h), (z, x, y))
    mask, truth = (np.ascontiguousarray(one.swapaxes(1, 2)) for one in (prediction, reference))
    other = {key: np.ascontiguousarray(one.swapaxes(1, 2)) for key, one in uptake().items()}
    assert same(value(name, mask, truth, grid, other), value(name, prediction, reference))


def test_without_a_pet_scan_it_is_as_it_says(name: str) -> None:
    prediction, reference = masks()
    alone = value(name, prediction, reference, volumes={})
    if METRICS[name].pet:
        assert math.isnan(alone)
    else:
        assert same(alone, value(name, prediction, reference))
