"""Arms of two studies are compared over what both have, patient by patient and run by run."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from hilum.core.errors import DataError


@pytest.fixture
def between(benchmark: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark("between_studies")


def study(folder: Path, arm: str, values: dict[tuple[str, str], list[float]]) -> Path:
    """Write the results of a study: Dice of each patient by labels and seed."""
    folder.mkdir()
    with (folder / "results.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["arm", "labels", "split.draw", "seed", "case", "patient", "dice"])
        for (labels, seed), dice in values.items():
            for number, value in enumerate(dice):
                writer.writerow([arm, labels, seed, seed, f"c{number}", f"p{number}", value])
    return folder


def test_one_run_is_the_paired_t_test(between: ModuleType, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    one, other = generator.uniform(size=8), generator.uniform(size=8)
    first = study(tmp_path / "a", "mine", {("n=1", "0"): [*one], ("n=2", "5"): [0.5] * 8})
    second = study(tmp_path / "b", "yours", {("n=1", "0"): [*other], ("n=2", "6"): [0.1] * 8})
    found = between.rows(
        between.runs_of(first, "mine", "dice", "labels"),
        between.runs_of(second, "yours", "dice", "labels"),
    )
    assert [row["level"] for row in found] == ["n=1", "all"], "no run of n=2 is in both"
    assert found[1] == found[0] | {"level": "all"}
    want = stats.ttest_rel(one, other).confidence_interval()
    assert (found[0]["low"], found[0]["high"]) == pytest.approx((want.low, want.high))
    assert found[0]["difference"] == pytest.approx(one.mean() - other.mean())
    assert (found[0]["one"], found[0]["patients"]) == (pytest.approx(one.mean()), 8)


def test_levels_of_one_draw_are_one_run(between: ModuleType, tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    keys = [("n=1", "0"), ("n=1", "1"), ("n=2", "0")]
    one, other = ({key: [*generator.uniform(size=6)] for key in keys} for _ in range(2))
    found = between.rows(
        between.runs_of(study(tmp_path / "a", "mine", one), "mine", "dice", "labels"),
        between.runs_of(study(tmp_path / "b", "yours", other), "yours", "dice", "labels"),
    )
    assert [(row["level"], row["runs"]) for row in found] == [("n=1", 2), ("n=2", 1), ("all", 1)]
    means = [np.mean([own["n=1", "0"], own["n=2", "0"]], 0) for own in (one, other)]
    want = stats.ttest_rel(*means).confidence_interval()
    assert (found[2]["low"], found[2]["high"]) == pytest.approx((want.low, want.high))


def test_what_cannot_be_compared_is_refused(between: ModuleType, tmp_path: Path) -> None:
    first = study(tmp_path / "a", "mine", {("n=1", "0"): [0.1, 0.2]})
    second = study(tmp_path / "b", "yours", {("n=1", "1"): [0.1, 0.2]})
    with pytest.raises(DataError, match="choose one of mine"):
        between.runs_of(first, "yours", "dice", "labels")
    with pytest.raises(DataError, match="same draws"):
        between.rows(
            between.runs_of(first, "mine", "dice", "labels"),
            between.runs_of(second, "yours", "dice", "labels"),
        )


def test_only_cases_whose_name_begins_so_count(between: ModuleType, tmp_path: Path) -> None:
    folder = study(tmp_path / "a", "mine", {("n=1", "0"): [0.1, 0.2, 0.3]})
    [values] = between.runs_of(folder, "mine", "dice", "labels", "c1").values()
    assert values == {"p1": 0.2}
