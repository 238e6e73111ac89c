"""Counts are those of the manifest, curves those of runs, and gains those of a straight line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from hilum.annotate.standing.curve import curve_of, gain_of, runs_in
from hilum.annotate.standing.rounds import rounds_of
from hilum.annotate.standing.status import status
from hilum.annotate.taking.versions import Version
from hilum.cli.app import app
from hilum.core.case import Case
from hilum.datasets.manifest import write_manifest


def run(folder: Path, train: list[str], dice: dict[str, float | None], **settings: Any) -> None:
    (folder / "test").mkdir(parents=True)
    (folder / "split.json").write_text(json.dumps({"train": train, "test": list(dice)}))
    cases = {n: {"patient": n, "metrics": {"dice": value}} for n, value in dice.items()}
    (folder / "test" / "metrics.json").write_text(json.dumps({"ct+pet": cases, "ct": {}}))
    (folder / "config.yaml").write_text(json.dumps(settings))


def version(case: str, rater: str, number: int, dice: float, round_: int = 1) -> Version:
    changes = {"added": 1, "removed": 2, "redrawn": 3, "kept": 4, "dice": dice}
    return Version(case, rater, number, "", {}, "", {}, changes, 0.0, {}, round_)


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    cases = [
        Case(f"c{n}", f"p{n}", {"ct": tmp_path / f"{n}.nii"}, split="test" if n > 5 else "train")
        for n in range(10)
    ]
    cases[0] = Case("c0", "p0", cases[0].volumes, label=tmp_path / "l.nii")
    cases.append(Case("c0b", "p0", cases[0].volumes))
    return write_manifest(tmp_path / "manifest.csv", cases)


def test_the_curve_is_that_of_patients_whom_all_runs_test(tmp_path: Path) -> None:
    patients = {f"c{n}": f"p{n}" for n in range(10)} | {"c0b": "p0"}
    run(tmp_path / "one", ["c0", "c0b"], {"c6": 0.2, "c7": 0.4, "c8": 0.9})
    run(tmp_path / "two/a", ["c0", "c1"], {"c6": 0.5, "c7": 0.6})
    run(tmp_path / "two/b", ["c0", "c2"], {"c6": 0.3, "c7": 0.8})
    run(tmp_path / "other", ["x"], {"c6": 0.3})
    found = runs_in([tmp_path], patients)
    assert sorted(one.patients for one in found) == [1, 2, 2]
    points, tables = curve_of(found)
    assert [(p.patients, p.runs) for p in points] == [(1, 1), (2, 2)]
    assert points[0].dice == pytest.approx(0.3)
    assert points[1].dice == pytest.approx(np.mean([0.5, 0.6, 0.3, 0.8]))
    assert points[1].low < points[1].dice < points[1].high
    np.testing.assert_allclose(tables[1], [[0.2], [0.4]])


def test_a_case_without_a_dice_leaves_the_others_of_its_patient(tmp_path: Path) -> None:
    run(tmp_path, ["c0"], {"c6": 0.2, "c7": 0.4, "c8": None, "c9": None})
    [found] = runs_in([tmp_path], {"c0": "p0", "c6": "a", "c7": "b", "c8": "a", "c9": "c"})
    assert (found.dice["a"], found.dice["b"]) == (0.2, 0.4)
    assert np.isnan(found.dice["c"])


def test_a_rule_is_no_point_of_the_curve_and_what_is_mixed_is_said(
    cohort: Path, tmp_path: Path
) -> None:
    runs, dice = tmp_path / "runs", {"c6": 0.2, "c7": 0.4}
    run(runs / "rule", ["c0"], {"c6": 0.9, "c7": 0.9}, baseline={"limit": 2.5})
    one = {"trainer": {"steps": 9, "tracking": {"mode": "online"}}, "baseline": None}
    run(runs / "1", ["c0"], dice, split={"labels": 1}, seed=1, init_from="a/network", **one)
    other = {"trainer": {"steps": 9}}
    run(runs / "2", ["c0", "c1"], dice, split={"labels": 2}, seed=2, init_from="b/network", **other)
    said: list[str] = []
    found = status(cohort, runs=[runs], say=said.append)
    assert found.curve[0].dice == pytest.approx(0.3)
    assert found.notes == ("1 runs of a rule are left out of the curve: they learn nothing",)
    assert f"note: {found.notes[0]}" in said
    run(runs / "3", ["c0", "c1", "c2"], dice, trainer={"steps": 50}, init_from=None)
    page = tmp_path / "page.html"
    mixed = status(cohort, runs=[runs], say=said.append, out=page).notes[1]
    assert "differ in init_from, trainer.steps: " in mixed
    assert mixed[1:] in page.read_text()


def test_a_network_without_labels_is_a_point_and_no_part_of_the_line() -> None:
    tables = {n: np.array([[0.1 * n], [0.2 * n]]) for n in (0, 1, 2)}
    found, without = gain_of(tables, 2), gain_of({n: tables[n] for n in (1, 2)}, 2)
    assert found == without
    assert found is not None
    assert found.dice == pytest.approx(0.15)


def test_the_gain_is_that_of_a_line_over_the_logarithm() -> None:
    generator = np.random.default_rng(0)
    slopes = 0.05 + 0.02 * generator.normal(size=12)
    numbers = [1, 2, 5, 10]
    tables = {n: (0.3 + slopes * np.log2(n))[:, None] for n in numbers}
    found = gain_of(tables, 10)
    assert found is not None
    assert found.dice == pytest.approx(slopes.mean())
    want = stats.ttest_1samp(slopes, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((want.low, want.high))
    assert gain_of({1: tables[1]}, 5) is None


def test_a_round_counts_the_newest_version_of_each_rater() -> None:
    found = rounds_of(
        [
            version("a", "ana", 1, 0.1),
            version("a", "ana", 2, 0.5),
            version("a", "ben", 1, 0.7),
            version("b", "ana", 1, 0.8),
            version("b", "ana", 2, 1.0, 2),
        ]
    )
    assert [(one.number, one.cases, one.raters) for one in found] == [
        (1, 2, ("ana", "ben")),
        (2, 1, ("ana",)),
    ]
    assert found[0].dice == pytest.approx((0.6 + 0.8) / 2)
    assert found[0].added == 3
    assert np.isnan(found[1].low)


def test_the_command_says_where_it_stands_and_writes_a_page(cohort: Path, tmp_path: Path) -> None:
    run(tmp_path / "runs/1", ["c0"], {"c6": 0.2, "c7": 0.4})
    run(tmp_path / "runs/4", ["c0", "c1", "c2", "c3"], {"c6": 0.5, "c7": 0.6})
    page = tmp_path / "page.html"
    words = ["annotate", "status", str(cohort), "--runs", str(tmp_path / "runs"), "--more", "4"]
    done = CliRunner().invoke(app, [*words, "--out", str(page)])
    assert done.exit_code == 0, done.output
    assert "1 patients have labels, 5 have none, 4 test" in done.output
    assert "1 labelled patients: test Dice 0.300" in done.output
    assert "4 more patients: +0.125" in done.output
    text = page.read_text()
    assert text.count("<circle") == 2
    assert "+0.125" in text
