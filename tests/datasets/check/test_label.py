"""A label is measured, and compared with the scans below it."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.core.case import Case
from hilum.core.geometry import Grid
from hilum.datasets.check.label import label_facts, label_problems
from hilum.datasets.io.lattice import drawn_on
from hilum.datasets.io.nifti import Volume

GRID = Grid.from_spacing((6, 8, 10), (3, 2, 1))
COARSE = Grid.from_spacing((3, 4, 5), (6, 4, 2), (0.5, 1, 1.5))


def mask(*boxes: tuple[int, tuple[slice, slice, slice]]) -> Volume:
    array = np.zeros(GRID.shape, np.uint8)
    for value, box in boxes:
        array[box] = value
    return Volume(array, GRID)


def test_components_and_volume_are_counted_per_class() -> None:
    label = mask(
        (1, np.s_[1:3, 1:3, 1:3]),
        (1, np.s_[3:4, 3:4, 3:4]),  # touches at a corner: one node
        (2, np.s_[1:3, 1:3, 3:5]),  # another class beside it: its own
        (2, np.s_[5:6, 7:8, 8:10]),
        (255, np.s_[0:1, :, :]),
    )
    assert label_facts(label) == {
        "values": [0, 1, 2, 255],
        "volume_ml": (9 + 8 + 2) * 6 / 1000,
        "components": 3,
        "tiny_components": 1,
    }


def test_an_empty_label_has_no_component() -> None:
    assert label_facts(mask())["components"] == 0


def test_the_ct_comes_first_where_two_grids_fit() -> None:
    same = Grid(GRID.shape, GRID.affine + 0)
    assert drawn_on(GRID, {"pet": GRID, "ct": same}) == "ct"
    assert drawn_on(GRID, {"pet": GRID, "ct": COARSE}) == "pet"
    assert drawn_on(GRID, {"ct": COARSE}) == ""


@pytest.mark.parametrize(
    ("box", "name", "rule"),
    [
        (np.s_[1:3, 1:4, 5:8], "ct", ""),
        (np.s_[1:3, 1:4, 2:4], "ct", "the label should lie in tissue"),
        (np.s_[1:3, 1:4, 2:4], "pet", ""),
    ],
)
def test_what_lies_below_is_read_from_another_grid(
    box: tuple[slice, slice, slice], name: str, rule: str
) -> None:
    scan = np.full(COARSE.shape, -1000, np.float32)
    scan[:, :, 2:] = 40
    label = mask((1, box))
    problems = label_problems(
        Case("a", "a"), label, label_facts(label), {name: Volume(scan, COARSE)}
    )
    assert [problem.rule for problem in problems] == ([rule] if rule else [])


def test_a_scan_that_misses_part_of_the_label_is_named() -> None:
    label = mask((1, np.s_[1:5, 2:4, 2:7]))
    near = GRID.crop((0, 0, 0), (3, 8, 10))
    volumes = {"mr": Volume(np.ones(near.shape, np.float32), near)}
    (problem,) = label_problems(Case("a", "a"), label, label_facts(label), volumes)
    assert (problem.rule, problem.found) == ("mr should show the whole label", "50% of it outside")
