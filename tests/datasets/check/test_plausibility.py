"""The scale of a PET is judged by the cohort's, by absolute limits where the cohort is small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.core.case import Case
from hilum.core.geometry import Grid
from hilum.datasets.check.plausibility import scale_problems
from hilum.datasets.check.run import check
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import write_manifest

GRID = Grid.from_spacing((12, 24, 24), (3, 3, 3))
USUAL = [0.5, 0.6, 0.7, 0.8, 0.9]


def facts(
    values: list[float], name: str = "pet", key: str = "body_median"
) -> dict[str, dict[str, Any]]:
    return {f"p{n}": {"modalities": {name: {key: value}}} for n, value in enumerate(values)}


def odd(values: list[float], name: str = "pet") -> list[str]:
    return [problem.case or "cohort" for problem in scale_problems(facts(values, name))]


@pytest.mark.parametrize(
    ("values", "cases"),
    [
        (USUAL, []),
        ([*USUAL, 0.07], ["p5"]),
        ([*USUAL, 7.0], ["p5"]),
        ([*USUAL, 0.07, 7.0], ["p5", "p6"]),
        ([*USUAL, 1.4], []),  # a bigger patient: less than three times
        ([0.7] * 6, []),
        ([0.7] * 6 + [2.5], ["p6"]),
        ([0.2, 0.4, 0.8, 1.6, 3.2, 5.0], []),  # a cohort as wide as that says little
        ([value / 10 for value in USUAL], ["cohort"]),
        ([value * 20 for value in USUAL], ["cohort"]),
        ([0.7], []),
        ([0.05], ["p0"]),
        ([0.7, 0.7, 9.0], ["p2"]),
        ([0.7, 0.7, 2.5], []),
        ([], []),
    ],
)
def test_a_tenth_or_ten_times_is_found(values: list[float], cases: list[str]) -> None:
    assert odd(values) == cases


@pytest.mark.parametrize(
    ("key", "values", "rules"),
    [
        ("liver_median", [2.1, 2.3, 2.0, 2.6, 2.2, 0.22], ["should have a liver on the scale"]),
        ("liver_median", [2.1, 2.3, 2.0, 2.6, 2.2, 4.9], ["should have a liver on the scale"]),
        ("liver_median", [2.1, 2.3, 2.0, 2.6, 2.2, 3.9], []),  # fatty livers differ
        ("liver_median", [2.1, 2.3, 11.0, 2.6, 9.0, 12.0], []),  # two tracers
        ("liver_median", [0.22, 2.2], ["should have a median of the liver between 0.3 and 20"]),
        ("liver_median", [22.0], ["should have a median of the liver between 0.3 and 20"]),
        ("noise", [0.11, 0.09, 0.12, 0.1, 0.5], ["should have the noise of the others"]),
        ("noise", [0.11, 0.09, 0.12, 0.1, 0.02], ["should have the noise of the others"]),
        ("noise", [0.11, 0.09, 0.12, 0.1, 0.37], []),
        ("noise", [0.1, 9.0], []),  # no limit for any scanner
    ],
)
def test_the_liver_and_noise_are_compared_too(
    key: str, values: list[float], rules: list[str]
) -> None:
    found = list(scale_problems(facts(values, key=key)))
    assert len(found) == len(rules)
    assert all(rule in problem.rule for rule, problem in zip(rules, found, strict=True))
    assert all(problem.severity == "warn" and problem.case for problem in found)


def test_the_rule_is_that_of_numbers_by_hand() -> None:
    # The median is 0.7; |log10| of the ratios to it: 0, 0, 0.058, 0.06695, 0.109, 0.146, 1, with
    # the median 0.06695: -1 / (1.4826 x 0.06695) = -10.07.
    (problem,) = scale_problems(facts([0.5, 0.6, 0.7, 0.8, 0.9, 0.07, 0.7]))
    assert "0.1 times the 0.7 of the cohort (robust z -10.1)" in problem.found


def test_other_units_and_small_cohorts_say_what_holds() -> None:
    assert odd([*USUAL, 0.001], "ct") == []
    (problem,) = scale_problems(facts([0.02]))
    assert "a cohort of 1 case is too small" in problem.found
    assert "the limits are absolute" in problem.found


def write_case(
    folder: Path, case: str, scale: float, shift: int = 0, noise: float = 0.02, liver: float = 1
) -> Case:
    """Write a PET with a body of 0.8 SUV, a liver of 2, noise, and a hot voxel; two labels."""
    draw = np.random.default_rng(ord(case[-1]))
    body = np.zeros(GRID.shape, bool)
    body[1:-1, 4:-4, 4:-4] = True
    organs = np.zeros(GRID.shape, np.uint8)
    organs[2:10, 14:20, 5:11] = 5
    pet = np.where(organs == 5, 2 * liver, body * 0.8)
    pet = (pet + draw.uniform(0, noise, GRID.shape)) * scale
    pet[5, 10, 10] = 6 * scale
    files = {"pet": write_volume(folder / case / "pet.nii.gz", pet.astype(np.float32), GRID)}
    anatomy = write_volume(folder / case / "organs.nii.gz", organs, GRID)
    (folder / case / "organs.json").write_text('{"1": "spleen", "5": "Liver"}')
    node = np.zeros(GRID.shape, np.uint8)
    node[4:8, 8:14, 8:14] = 1
    label = write_volume(folder / case / "label.nii.gz", node, GRID)
    write_volume(folder / case / "label_pet.nii.gz", np.roll(node, shift, 2), GRID)
    return Case(case, case, files, label, anatomy=anatomy)


def test_check_finds_a_tenth_of_the_scale_and_strict_fails(tmp_path: Path) -> None:
    cases = [write_case(tmp_path, f"p{n}", 0.1 if n == 3 else 1) for n in range(5)]
    report = check(write_manifest(tmp_path / "manifest.csv", cases), strict=True)
    assert [(p.case, p.rule) for p in report.problems if "scale" in p.rule] == [
        ("p3", "pet should be on the scale of the others"),
        ("p3", "pet should have a liver on the scale of the others"),
    ]
    assert report.blocking


@pytest.mark.parametrize(
    ("odd", "rule"),
    [
        ({"noise": 0.4}, "pet should have the noise of the others"),
        ({"noise": 0.0005}, "pet should have the noise of the others"),
        ({"liver": 0.45}, "pet should have a liver on the scale of the others"),
        ({"liver": 2.5}, "pet should have a liver on the scale of the others"),
    ],
)
def test_check_compares_liver_and_noise_and_nothing_else_is_odd(
    odd: dict[str, float], rule: str, tmp_path: Path
) -> None:
    cases = [write_case(tmp_path, f"p{n}", 1, **(odd if n == 3 else {})) for n in range(5)]
    report = check(write_manifest(tmp_path / "manifest.csv", cases))
    found = [(p.case, p.rule) for p in report.problems if "others" in p.rule]
    assert found == [("p3", rule)]


@pytest.mark.parametrize(
    ("shift", "dice", "told"), [(0, 1.0, 0), (2, 4 / 6, 0), (4, 2 / 6, 1), (8, 0.0, 1)]
)
def test_two_labels_of_a_case_are_compared(
    shift: int, dice: float, told: int, tmp_path: Path
) -> None:
    case = write_case(tmp_path, "p0", 1, shift)
    report = check(write_manifest(tmp_path / "manifest.csv", [case]))
    assert report.cases["p0"]["label_dice"] == {"label_pet": pytest.approx(dice, abs=1e-3)}
    rules = [p.rule for p in report.problems if "one place" in p.rule]
    assert rules == ["label and label_pet should mark one place"] * told
