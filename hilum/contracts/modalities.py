"""What every modality must keep; run by pytest, once for each `name`."""

from __future__ import annotations

import re
from typing import get_args

import numpy as np
import pytest
import torch

from hilum.core.modality import MODALITIES, Modality, Unit, modality

TABLE = MODALITIES


def inside(rule: Modality) -> np.ndarray:
    """Return values from the lower to the upper end of the window."""
    return np.linspace(rule.low, rule.high, 101, dtype=np.float32)


def test_its_name_can_be_a_column_and_is_the_one_it_is_found_by(name: str) -> None:
    rule = MODALITIES[name]
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", rule.name)
    if ":" not in name:
        assert rule.name == name
        assert modality(name) is rule
        if "_" not in name:
            assert modality(f"{name}_late") is rule, "its sequences share its rule"


def test_its_unit_is_one_that_stores_know(name: str) -> None:
    assert MODALITIES[name].unit in get_args(Unit)


def test_its_numbers_are_finite_and_its_windows_rise(name: str) -> None:
    rule = MODALITIES[name]
    assert np.isfinite([rule.low, rule.high, rule.fill, *rule.plausible, *rule.show]).all()
    assert rule.low < rule.high
    assert rule.show[0] < rule.show[1]
    assert rule.plausible[0] < rule.plausible[1]


def test_what_it_shows_and_what_a_network_sees_is_plausible(name: str) -> None:
    """Or every file would be refused, or every picture empty."""
    rule = MODALITIES[name]
    for low, high in ((rule.low, rule.high), rule.show):
        assert rule.plausible[0] <= low < high <= rule.plausible[1]
    assert max(rule.low, rule.show[0]) < min(rule.high, rule.show[1])


def test_outside_the_field_of_view_is_plausible_and_no_bright_place(name: str) -> None:
    rule = MODALITIES[name]
    assert rule.plausible[0] <= rule.fill <= rule.plausible[1]
    assert rule.fill < (rule.low + rule.high) / 2


def test_a_modality_without_an_absolute_scale_has_a_window_around_one(name: str) -> None:
    """`hilum prepare` divides it by the 99th percentile inside the body."""
    rule = MODALITIES[name]
    if rule.unit != "a.u.":
        pytest.skip("it has an absolute scale")
    assert rule.low < 1 < rule.high


def test_its_scale_rises_and_can_be_undone(name: str) -> None:
    rule = MODALITIES[name]
    values = inside(rule)
    encoded = rule.encode(values)
    assert encoded.dtype == np.float32
    assert np.all(np.diff(encoded) > 0)
    span = rule.high - rule.low
    np.testing.assert_allclose(rule.decode(encoded), values, atol=1e-5 * span)


def test_what_lies_outside_of_the_window_saturates(name: str) -> None:
    rule = MODALITIES[name]
    ends = rule.encode(np.array([rule.low, rule.high], np.float32))
    far = rule.encode(np.array(rule.plausible, np.float32))
    np.testing.assert_array_equal(far, ends)
    assert np.isfinite(rule.encode(np.array([rule.fill], np.float32))).all()


def test_arrays_and_tensors_are_encoded_alike(name: str) -> None:
    rule = MODALITIES[name]
    values = inside(rule)
    found = rule.encode(torch.from_numpy(values))
    np.testing.assert_allclose(found.numpy(), rule.encode(values), rtol=1e-6, atol=1e-6)
    back = rule.decode(found)
    np.testing.assert_allclose(back.numpy(), rule.decode(rule.encode(values)), rtol=1e-5, atol=1e-4)


def test_a_network_sees_numbers_of_its_own_size(name: str) -> None:
    """Scales of other modalities are within 4 of zero; a channel far from it drowns the others."""
    rule = MODALITIES[name]
    assert np.abs(rule.encode(inside(rule))).max() <= 10
