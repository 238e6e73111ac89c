"""Leaks, duplicates and odd classes show when all cases are seen together."""

from __future__ import annotations

import re

import pytest

from hilum.core.case import Case
from hilum.datasets.check.case import CaseFindings
from hilum.datasets.check.cohort import cohort_problems


def found(
    values: dict[str, list[int]], classes: int | None = None, components: int = 9
) -> list[str]:
    """Return the problems of labels that hold these values."""
    cases = [Case(name, name) for name in values]
    findings = [
        CaseFindings(name, facts={"label": {"values": held, "components": components}})
        for name, held in values.items()
    ]
    problems = cohort_problems(cases, findings, classes)
    return [f"{p.severity} {p.case}: {p.rule}, found {p.found}" for p in problems]


@pytest.mark.parametrize(
    ("values", "classes", "expected"),
    [
        ({"a": [0, 1], "b": [0], "c": [0, 1, 255]}, None, []),
        ({"a": [0, 2], "b": [0, 1]}, None, []),
        ({"a": [0], "b": [0]}, None, []),
        ({"a": [0, 1], "b": [0, 3]}, None, ["b: .* gap, up to 20, found 3 .no label holds 2"]),
        ({"a": list(range(30))}, None, ["a: .* found 21, 22, 23, 24, 25, 26, 27, 28, 29$"]),
        ({"a": [0, 255], "b": [0]}, None, []),
        ({"a": [0, 255], "b": [0, 1]}, None, []),
        ({"a": [0, 1], "b": [0, 2]}, 2, ["b: label values must be 0 to 1, or 255 .* found 2"]),
        ({"a": [0, 2], "b": [0, 3, 255]}, 4, []),
    ],
)
def test_label_values_are_classes_without_a_gap(
    values: dict[str, list[int]], classes: int | None, expected: list[str]
) -> None:
    problems = found(values, classes)
    assert len(problems) == len(expected)
    for problem, start in zip(problems, expected, strict=True):
        assert re.match(f"block {start}", problem), problem


def test_numbered_nodes_are_not_taken_for_classes() -> None:
    values = {"a": [0, 1, 2, 3, 4, 5]}
    (problem,) = found(values, components=5)
    assert problem.startswith("warn : label values should be classes, found up to 5 values")
    assert found(values, components=7) == []
    assert found(values, classes=6, components=5) == []


@pytest.mark.parametrize(
    ("splits", "leaks"),
    [(["train", "train"], 0), (["test", "test"], 0), (["train", ""], 0), (["", "test"], 1)],
)
def test_a_patient_stays_on_one_side(splits: list[str], leaks: int) -> None:
    cases = [Case(str(i), "p", split=split) for i, split in enumerate(splits)]
    problems = list(cohort_problems(cases, [CaseFindings(case.id) for case in cases], None))
    assert [problem.severity for problem in problems] == ["block"] * leaks


def test_two_scans_of_one_patient_may_be_equal_but_are_odd() -> None:
    cases = [Case("a", "p"), Case("b", "p"), Case("c", "q")]
    findings = [CaseFindings(case.id, hashes={"ct": "x"}) for case in cases]
    problems = list(cohort_problems(cases, findings, None))
    assert [(problem.case, problem.severity) for problem in problems] == [
        ("b", "warn"),
        ("c", "block"),
    ]
