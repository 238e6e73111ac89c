"""The viewer's table says which nodes are true, and which were missed."""

from __future__ import annotations

from typing import cast

import numpy as np

from hilum.core.geometry import Grid
from hilum.evaluation.metrics.nodes import node_table
from hilum.evaluation.viewer.case import Shown, describe, mark
from hilum.evaluation.viewer.matches import matches, with_matches

GRID = Grid.from_spacing((5, 7, 30), (3.0, 2.0, 1.5))


def masks() -> tuple[np.ndarray, np.ndarray]:
    one, other = np.zeros((2, *GRID.shape), np.uint8)
    one[1:4, 1:4, 0:4] = 1
    one[2, 2:4, 12:16] = 1
    one[4, 6, 29] = 1
    other[2, 2, 1], other[2, 2, 3] = 1, 1
    other[2, 3, 15:19] = 1
    other[0:2, 5:7, 22:25] = 1
    return one, other


def test_nodes_that_share_a_voxel_match() -> None:
    one, other = masks()
    # By size: 36, 8 and 1 voxels; 12, 4, 1 and 1 in the reference.
    found = matches(mark(one, GRID), mark(other, GRID))
    assert found == {(1, 3), (1, 4), (2, 2)}
    assert matches(mark(one * 0, GRID), mark(other, GRID)) == set()
    assert matches(mark(one, GRID), mark(other * 0, GRID)) == set()


def test_the_table_names_partners_and_lists_the_missed() -> None:
    one, other = masks()
    rows = node_table(one, GRID)
    marked = {"prediction": mark(one, GRID, rows), "reference": mark(other, GRID)}
    case = with_matches(Shown("a", GRID, [], marked, rows))
    lines = cast(list[dict[str, object]], describe(case)["nodes"])
    assert [line["reference"] for line in lines] == ["R3, R4", "R2", "none", "missed"]
    assert [line["id"] for line in lines] == [1, 2, 3, "R1"]
    (last,) = case.missed
    middle = GRID.to_world(np.array([0.5, 5.5, 23.0]))
    np.testing.assert_allclose(np.array(last.centroid_mm), middle, atol=0.01)


def test_without_a_reference_nothing_changes() -> None:
    one, _ = masks()
    case = Shown("a", GRID, [], {"prediction": mark(one, GRID)}, node_table(one, GRID))
    assert with_matches(case) is case
