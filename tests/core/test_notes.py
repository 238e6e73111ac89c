"""Notes become one line per severity and kind, and survive a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilum.core.errors import DataError
from hilum.core.notes import Note, grouped, read_notes, write_notes


def test_one_case_is_told_in_full_and_several_are_counted_and_named() -> None:
    notes = [Note("warning", "HU clipped", f"{n} voxels", f"p{n}") for n in range(5)]
    assert grouped(notes[:1]) == ["warning: p0: 0 voxels"]
    assert grouped(notes) == [
        "warning: 5 cases: HU clipped (p0: 0 voxels; p1: 1 voxels; p2: 2 voxels; and 2 more)"
    ]


def test_the_gravest_come_first_and_kinds_stay_apart() -> None:
    notes = [Note("info", "a", "x", "p"), Note("warning", "b", "y"), Note("error", "c", "z", "q")]
    assert grouped(notes) == ["error: q: z", "warning: y", "info: p: x"]
    same = [Note("info", "a", "x", "p"), Note("warning", "a", "x", "p")]
    assert len(grouped(same)) == 2


def test_a_note_that_comes_twice_counts_once_and_a_case_with_two_counts_as_one() -> None:
    assert grouped([Note("info", "a", "x", "p")] * 3) == ["info: p: x"]
    two = [Note("info", "a", "x", "p"), Note("info", "a", "y", "p")]
    assert grouped(two) == ["info: p: a (x; y)"]
    assert grouped([*two, Note("info", "a", "z", "q")]) == ["info: 2 cases: a (p: x; q: z)"]


def test_notes_of_the_cohort_have_no_case() -> None:
    assert grouped([Note("info", "a", "x"), Note("info", "a", "y")]) == ["info: 2 times: a (x; y)"]


def test_notes_survive_a_file_and_a_missing_one_has_none(tmp_path: Path) -> None:
    notes = [Note("info", "a", "é", "p"), Note("error", "b", "y")]
    assert read_notes(write_notes(tmp_path / "n.json", [*notes, notes[0]])) == notes
    assert read_notes(tmp_path / "none.json") == []


@pytest.mark.parametrize("text", ["[]", '{"notes": [1]}', '{"notes": [{"severity": "bad"}]}', "{}"])
def test_a_file_of_something_else_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "n.json").write_text(text)
    with pytest.raises(DataError, match=r"n\.json: the file of notes must be one"):
        read_notes(tmp_path / "n.json")


def test_an_unknown_severity_is_refused_and_text_of_before_is_a_warning() -> None:
    with pytest.raises(ValueError, match="unknown severity 'bad'"):
        Note.from_json({"severity": "bad", "kind": "a", "text": "b"})
    assert Note.from_json("old text").severity == "warning"
