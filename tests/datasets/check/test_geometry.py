"""Grids of a case are compared where they lie in the patient."""

from __future__ import annotations

import itertools

import nibabel
import numpy as np
import pytest

from hilum.core.geometry import Grid, IntTriple, Triple
from hilum.datasets.check.geometry import (
    covered,
    grid_problems,
    inside,
    orientation,
    overlap_problems,
)

WHOLE = Grid.from_spacing((40, 30, 20), (2, 3, 4), (-5, 7, 100))


def part(start: IntTriple, shape: IntTriple) -> Grid:
    return WHOLE.crop(start, shape)


@pytest.mark.parametrize(
    ("other", "share"),
    [
        (WHOLE, 1),
        (part((0, 0, 0), (20, 30, 20)), 1 / 2),
        (part((-10, 0, 0), (30, 30, 20)), 1 / 2),
        (part((10, 15, 5), (20, 15, 10)), 1 / 8),
        (part((40, 0, 0), (40, 30, 20)), 0),
        (part((-99, -99, -99), (300, 300, 300)), 1),
    ],
)
def test_the_share_is_that_of_the_volumes(other: Grid, share: float) -> None:
    assert covered(WHOLE, other) == pytest.approx(share, abs=0.02)


def test_a_box_ends_half_a_voxel_beyond_the_last_centre() -> None:
    ends = WHOLE.to_world(
        np.array([[-0.49, 0, 0], [-0.51, 0, 0], [39.49, 29.4, 19.4], [0, 0, 19.6]])
    )
    assert inside(ends, WHOLE).tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("axes", "signs"),
    list(itertools.product(itertools.permutations(range(3)), [(1, 1, 1), (-1, 1, -1), (1, -1, 1)])),
)
def test_orientation_agrees_with_nibabel(axes: tuple[int, ...], signs: tuple[int, ...]) -> None:
    affine = np.zeros((4, 4))
    for column, (row, sign) in enumerate(zip(axes, signs, strict=True)):
        affine[row, column] = sign * (column + 1.5)
    affine[3, 3] = 1
    assert orientation(Grid((3, 4, 5), affine)) == "".join(nibabel.aff2axcodes(affine))


@pytest.mark.parametrize(
    ("name", "other", "expected"),
    [
        ("pet", part((1, 0, 1), (39, 30, 19)), ""),
        ("pet", part((0, 0, 0), (30, 30, 20)), "warn pet should cover ct, found 75%"),
        ("mr", part((10, 10, 10), (4, 4, 4)), ""),
        (
            "mr",
            part((39, 29, 19), (40, 30, 20)),
            "block mr and ct must show the same place, found 0%",
        ),
        (
            "pet",
            part((-90, 0, 0), (40, 30, 20)),
            "block pet and ct must show the same place, found 0%",
        ),
    ],
)
def test_scans_must_meet_and_pet_should_cover(name: str, other: Grid, expected: str) -> None:
    problems = [
        f"{p.severity} {p.rule}, found {p.found}"
        for p in overlap_problems("a", {"ct": WHOLE, name: other}, "ct")
    ]
    assert len(problems) == bool(expected)
    assert "".join(problems).startswith(expected)


@pytest.mark.parametrize(
    ("shape", "spacing", "rule"),
    [
        ((8, 9, 10), (10, 0.2, 1), ""),
        ((8, 9, 10), (0.003, 0.001, 0.001), "spacing of ct should be"),
        ((8, 9, 10), (1, 1, 25), "spacing of ct should be"),
        ((1, 90, 100), (3, 1, 1), "ct should have 8 slices"),
    ],
)
def test_odd_grids_are_named(shape: IntTriple, spacing: Triple, rule: str) -> None:
    found = [
        problem.rule for problem in grid_problems("a", "ct", Grid.from_spacing(shape, spacing))
    ]
    assert len(found) == bool(rule)
    assert "".join(found).startswith(rule)
