"""Cohorts are put together as independent estimates are, from what tables say of them."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from hilum.core.errors import DataError


@pytest.fixture
def cohorts(benchmark: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark("cohorts_together")


def write(file: Path, name: str, sample: np.ndarray, draws: int, seeds: int) -> None:
    found = stats.ttest_1samp(sample, 0)
    low, high = found.confidence_interval()
    row = {"comparison": name, "difference": sample.mean(), "ci_low": low, "ci_high": high}
    row |= {"p": found.pvalue, "draws": draws, "seeds": seeds}
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(row))
        writer.writeheader()
        writer.writerow(row)


def test_a_row_gives_back_its_t_test(cohorts: ModuleType, tmp_path: Path) -> None:
    sample = np.random.default_rng(0).normal(0.1, 0.3, 9)
    write(tmp_path / "one.csv", "a vs. b", sample, 3, 3)
    found = cohorts.row_of(tmp_path / "one.csv", "a vs. b")
    assert found.mean == pytest.approx(sample.mean())
    assert found.error == pytest.approx(sample.std(ddof=1) / 3)
    assert found.freedom == pytest.approx(8)
    assert found.draws == 3


def test_two_of_one_size_are_welchs_test(cohorts: ModuleType, tmp_path: Path) -> None:
    """The sum of two independent means: Welch's test of one against the other's negative."""
    generator = np.random.default_rng(1)
    one, other = generator.normal(0.1, 0.2, 8), generator.normal(0.2, 0.5, 12)
    write(tmp_path / "one.csv", "a vs. b", one, 4, 4)
    write(tmp_path / "other.csv", "a vs. b", other, 1, 4)  # an older table: a draw as a seed
    both = [cohorts.row_of(tmp_path / f"{name}.csv", "a vs. b") for name in ("one", "other")]
    found = cohorts.together(both)
    welch = stats.ttest_ind(one, -other, equal_var=False)
    low, high = welch.confidence_interval()
    assert found.draws == 8
    assert found.mean == pytest.approx((one.mean() + other.mean()) / 2)
    assert found.p == pytest.approx(welch.pvalue)
    assert found.interval == pytest.approx((low / 2, high / 2))


def test_draws_are_weights(cohorts: ModuleType) -> None:
    few, many = cohorts.Difference(0.0, 0.1, 5.0, 2), cohorts.Difference(0.4, 0.2, 7.0, 6)
    found = cohorts.together([few, many])
    assert found.mean == pytest.approx(0.3)
    assert found.error == pytest.approx(math.hypot(0.25 * 0.1, 0.75 * 0.2))


def test_what_no_t_test_has_and_what_is_not_there_are_refused(
    cohorts: ModuleType, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="no t test"):
        cohorts.from_row(0.5, 0.4, 0.6, 0.9, 3)
    write(tmp_path / "one.csv", "a vs. b", np.array([0.1, 0.2, 0.4]), 3, 3)
    with pytest.raises(DataError, match=r"a vs\. c.*choose one of a vs\. b"):
        cohorts.row_of(tmp_path / "one.csv", "a vs. c")


def test_the_table_has_a_row_of_each_and_one_of_all(
    cohorts: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "other"):
        write(tmp_path / f"{name}.csv", "a vs. b", np.array([0.1, 0.2, 0.4]), 3, 3)
    rows = [
        word for n in ("one", "other") for word in ("--row", str(tmp_path / f"{n}.csv"), "a vs. b")
    ]
    monkeypatch.setattr(sys, "argv", ["cohorts_together", *rows, "--out", str(tmp_path / "t.csv")])
    cohorts.main()
    with (tmp_path / "t.csv").open(encoding="utf-8") as stream:
        found = list(csv.DictReader(stream))
    assert [row["draws"] for row in found] == ["3", "3", "6"]
    assert found[2]["cohort"] == "together"
    assert float(found[2]["difference"]) == pytest.approx(0.2333)
