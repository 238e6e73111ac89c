"""Values are judged by what bodies look like, not by a header's word."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.datasets.check.values import value_problems

SHAPE = (6, 20, 24)


def body(air: float, tissue: float, hot: float, name: str = "x") -> np.ndarray:
    array = np.full(SHAPE, air, np.float32)
    array[:, 4:16, 4:20] = tissue
    array[2, 8, 8:10] = hot
    return array


@pytest.mark.parametrize(
    ("name", "array", "expected"),
    [
        ("ct", body(-1000, 40, 900), ""),
        ("ct", body(-3024, 40, 3071), ""),
        ("ct", body(0, 1064, 1924), "block: HU + 1024"),
        ("ct", body(0, 0.5, 1), "block: normalised"),
        ("ct", body(-1, 0, 1), "block: normalised"),
        ("ct", body(0, 120, 255), "block: normalised"),
        ("ct", body(-160, 40, 240), "warn: windowed"),
        ("ct", body(-1000, -800, 50), "warn: of a patient"),
        ("ct", body(-1000, 40, 40000), "block: export the scan again"),
        ("pet", body(0, 1, 25), ""),
        ("pet", body(0, 5, 90), ""),
        ("pet", body(0, 4000, 60000), "block: Bq/ml"),
        ("pet", body(0, 60, 400), "block: Bq/ml"),
        ("pet", body(0, 14, 90), "warn: kBq/ml"),
        ("pet", body(0, 0.1, 1), "warn: scaled"),
        ("pet", body(-0.3, 1, 9), "warn: spline"),
        ("pet", body(-9, 1, 9), "block: export the scan again"),
        ("pet", body(0, 0, 0), "block: empty"),
        ("mr_t1", body(0, 300, 1200), ""),
        ("mr_t1", body(-0.7, 0.5, 3), "warn: 99th percentile"),
        ("us", body(7, 7, 7), "block: empty"),
    ],
)
def test_units_are_recognised(name: str, array: np.ndarray, expected: str) -> None:
    problems = value_problems("a", name, array)
    if not expected:
        assert problems == []
        return
    severity, hint = expected.split(": ")
    (problem,) = problems
    assert problem.case == "a"
    assert problem.severity == severity
    assert hint in problem.remedy
    assert problem.rule.startswith(name)


def test_large_scans_are_judged_from_a_part() -> None:
    rest = np.zeros((130, 200, 200), np.float32)
    rest[:, 40:160, 40:160] = 3000
    (problem,) = value_problems("a", "pet", rest)
    assert "median of the body 3e+03" in problem.found
