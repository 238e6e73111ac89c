"""The simulated labeller: every edit is counted, and what it leaves is the truth."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("labelling_loop")
    for name in ("labelling_loop", "timing"):
        sys.modules.pop(name, None)


def row(text: str) -> np.ndarray:
    """Return a scan of one row; a digit is a number, a point is nothing."""
    return np.array([[[0 if sign == "." else int(sign) for sign in text]]], np.uint8)


TRUTH = row("111.11..11..1111")
PROPOSED = row("..11111...2.....")
"""The first proposal joins two nodes and misses parts of one, the second is false."""


def test_edits_are_counted_by_hand(loop: ModuleType) -> None:
    edits = loop.edits_of(PROPOSED, TRUTH)
    found = loop.curve(PROPOSED, edits, TRUTH)
    # Two redrawn, one deleted, two missed ones drawn.
    assert len(edits) == 5
    # Of 11 voxels 3 are in the 6 that were proposed.
    assert found[0] == pytest.approx(2 * 3 / (11 + 6))
    assert found[-1] == 1
    assert len(found) == 6
    # What the joined proposal had outside of nodes is gone with its first redraw.
    after = [3 + 2 + 1, 3 + 2 + 1, 3 + 2, 3 + 2 + 4, 11]
    right = [5, 5, 5, 9, 11]
    assert found[1:] == pytest.approx([2 * r / (11 + n) for r, n in zip(right, after, strict=True)])


def test_an_exact_proposal_needs_no_edit_and_nothing_needs_one_per_node(loop: ModuleType) -> None:
    truth = row("11..1.")
    assert loop.edits_of(row("11..2."), truth) == []
    nothing = loop.curve(np.zeros_like(truth), loop.edits_from_nothing(truth), truth)
    assert nothing == pytest.approx([0, 2 * 2 / 5, 1])
    assert loop.until(nothing, 0.8) == 1
    assert loop.until(nothing, 0.81) == 2


def test_the_largest_change_comes_first_and_the_end_is_the_same(loop: ModuleType) -> None:
    edits = loop.by_size(loop.edits_of(PROPOSED, TRUTH), PROPOSED)
    sizes = [edit.size((PROPOSED > 0).ravel()) for edit in edits]
    assert sizes == sorted(sizes, reverse=True)
    assert loop.curve(PROPOSED, edits, TRUTH)[-1] == 1


def test_two_proposals_of_one_node_are_one_redraw_and_one_deletion(loop: ModuleType) -> None:
    truth, proposed = row(".1111.."), row(".1..22.")
    edits = loop.edits_of(proposed, truth)
    assert len(edits) == 2
    assert loop.curve(proposed, edits, truth)[-1] == 1
    assert loop.curve(proposed, edits[::-1], truth)[-1] == 1


def test_a_segmenter_that_is_right_saves_edits(
    loop: ModuleType, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "cohort").symlink_to(manifest.parent)
    folder = loop.rule().save(tmp_path / "segmenter")
    monkeypatch.setattr(sys.modules["timing"], "RESULTS", tmp_path / "results")
    words = [str(tmp_path / "work"), "--by", f"sure={folder}", "--threshold", "0.9"]
    monkeypatch.setattr(sys, "argv", ["labelling_loop.py", *words])
    loop.main()
    kept = json.loads((tmp_path / "results" / "labelling_loop.json").read_text())
    rows = kept["rows"]
    assert {row["cases"] for row in rows if "cases" in row} == {4}
    (at_once,) = (row for row in rows if row.get("dice_after_edits") == 0)
    assert at_once["nothing"] == 0
    assert at_once["doubtful"] == at_once["largest"] > 0.8
    (needed,) = (row for row in rows if row.get("edits_until_dice") == 0.8)
    # Each of these patients has one node.
    assert (needed["nothing"], needed["doubtful"]) == (1, 0)
    assert needed["doubtful_less_nothing"][0] == -1
    assert str(tmp_path / "work") not in kept["command"]
