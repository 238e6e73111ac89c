"""Each step does what it says to the voxels, and undo takes it back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import label

from hilum.annotate.correcting.editor import STEP, Editor, Piece
from hilum.core.errors import DataError
from hilum.core.geometry import Grid

SHAPE = (12, 20, 24)


def editor() -> Editor:
    """Return two hills of probability, of which the first has a node from 0.4 on."""
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    hills = [(0.9, (5, 6, 6)), (0.6, (6, 14, 18))]
    parts = [top * np.exp(-((index - np.array(middle)) ** 2).sum(-1) / 9) for top, middle in hills]
    probability = np.maximum(*parts).astype(np.float32)
    labels = ((parts[0] >= 0.4) & (parts[0] > parts[1])).astype(np.uint16)
    grid = Grid.from_spacing(SHAPE, (3, 2, 2))
    return Editor("a", grid, probability, labels, {1: Piece(1, (5, 6, 6), 0.4)})


def test_growing_and_shrinking_move_the_threshold_of_the_component() -> None:
    one = editor()
    near = np.zeros(SHAPE, bool)
    near[:, :11, :12] = True
    one.grow(1)
    np.testing.assert_array_equal(one.labels == 1, (one.probability >= 0.4 * STEP) & near)
    one.shrink(1)
    one.shrink(1)
    np.testing.assert_array_equal(one.labels == 1, (one.probability >= 0.4 / STEP) & near)
    for _ in range(20):
        one.shrink(1)
    assert one.labels[5, 6, 6] == 1
    assert one.pieces[1].accepted


def test_a_node_that_grows_never_takes_another_ones_voxels() -> None:
    one = editor()
    two = one.add((6, 14, 18))
    mine = one.labels == two
    for _ in range(20):
        one.grow(1)
    np.testing.assert_array_equal(one.labels == two, mine)
    assert (one.labels == 1).sum() > 100


def test_a_click_adds_the_component_there_at_half_its_probability() -> None:
    one = editor()
    number = one.add((6, 14, 17))
    here = one.probability[6, 14, 17]
    far = np.zeros(SHAPE, bool)
    far[:, :, 12:] = True
    np.testing.assert_array_equal(one.labels == number, (one.probability >= here / 2) & far)
    assert one.pieces[number].seed == (6, 14, 18)
    assert one.pieces[number].added


def reaching_far() -> Editor:
    """Return an editor in which the node reaches further from its seed than a node may grow."""
    one = editor()
    one.grid = Grid.from_spacing(SHAPE, (30, 30, 30))
    one.labels[:, :11, :12] = 1
    return one


def test_all_of_a_node_that_reaches_far_is_rejected_and_comes_back() -> None:
    one, before = reaching_far(), reaching_far()
    one.reject(1)
    assert not one.labels.any()
    one.undo()
    np.testing.assert_array_equal(one.labels, before.labels)


def test_a_node_that_reaches_far_shrinks_to_its_component() -> None:
    one = reaching_far()
    one.shrink(1)
    parts, _ = label(one.probability >= 0.4 / STEP, np.ones((3, 3, 3)))
    np.testing.assert_array_equal(one.labels == 1, parts == parts[5, 6, 6])


STEPS: dict[str, Callable[[Editor], object]] = {
    "accept": lambda one: one.accept(1),
    "reject": lambda one: one.reject(1),
    "grow": lambda one: one.grow(1),
    "shrink": lambda one: one.shrink(1),
    "add": lambda one: one.add((6, 14, 18)),
}


@pytest.mark.parametrize("name", STEPS)
def test_every_step_can_be_undone(name: str) -> None:
    one, before = editor(), editor()
    STEPS[name](one)
    assert one.done[-1]["what"] == name
    changed = (one.labels != before.labels).any() or one.pieces != before.pieces
    assert changed
    one.undo()
    np.testing.assert_array_equal(one.labels, before.labels)
    assert (one.pieces, one.rejected) == (before.pieces, before.rejected)
    with pytest.raises(DataError, match="nothing to undo"):
        one.undo()


BAD: dict[str, tuple[Callable[[Editor], object], str]] = {
    "no such node": (lambda one: one.accept(7), "must be a node 7"),
    "there already": (lambda one: one.add((5, 6, 6)), "node 1 is there already"),
    "nothing there": (lambda one: one.add((0, 19, 0)), "draw the node in 3D Slicer"),
    "outside": (lambda one: one.add((0, 0, 24)), "must lie in the scan"),
    "before": (lambda one: one.add((0, -1, 0)), "must lie in the scan"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_done_changes_nothing(name: str) -> None:
    one, before = editor(), editor()
    do, message = BAD[name]
    with pytest.raises(DataError, match=message):
        do(one)
    np.testing.assert_array_equal(one.labels, before.labels)
    assert one.pieces == before.pieces
    assert not one.done
