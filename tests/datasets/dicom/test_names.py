"""Names of regions: globs are globs, `re:` begins an expression, and what fits nothing is told."""

from __future__ import annotations

import subprocess

import pytest

from hilum.core.errors import SettingsError
from hilum.core.settings import load
from hilum.datasets.dicom.case import DicomLayout
from hilum.datasets.dicom.names import line_of, overlaps, remedy, table_of, unused


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("GTVn*", "GTVn2", True),
        ("GTVn*", "gtvn", True),
        ("GTVn*", "GTV n", False),
        ("GTVn*", "pre GTVn", False),
        ("*node*", "Left Nodes 3", True),
        ("GTVn?", "GTVn2", True),
        ("GTVn?", "GTVn", False),
        ("GTVn[12]", "GTVn2", True),
        ("GTVn[12]", "GTVn3", False),
        ("GTVn [L]", "GTVn [L]", True),
        ("GTV (n)", "GTV (n)", True),
        ("GTV.n", "GTVxn", False),
        ("GTV+", "GTVV", False),
        ("GTV+", "gtv+", True),
        ("re:GTV.?n.*", "GTV-n2", True),
        ("re:GTVn", "GTVn2", False),
        ("GTVn.*", "GTVn2", False),
    ],
)
def test_a_pattern_fits_the_whole_name(pattern: str, name: str, fits: bool) -> None:
    assert (line_of(table_of({pattern: 1}), name) is not None) == fits


def test_the_first_match_wins_and_an_overlap_is_told() -> None:
    names = {"GTVn_old": 0, "GTVn*": 1, "GTV*": 2}
    table = table_of(names)
    assert [line_of(table, n) for n in ("GTVn_old", "GTVn1", "GTVp", "CTV")] == [0, 1, 2, None]
    notes = overlaps(names, table, ["GTVn_old", "GTVn1", "GTVp", "GTVn1"])
    assert [note.text for note in notes] == [
        "'GTVn_old' fits GTVn_old (0), GTVn* (1), GTV* (2): the first counts",
        "'GTVn1' fits GTVn* (1), GTV* (2): the first counts",
    ]
    assert all(note.severity == "warning" for note in notes)
    assert overlaps({"GTVn*": 1, "*n1": 1}, table_of({"GTVn*": 1, "*n1": 1}), ["GTVn1"]) == []


@pytest.mark.parametrize(
    "name", ["GTVn", "GTV n 2", "GTV 'n'", "node #1", "$HOME", "a: b", 'x "y"', "é*", "[LN]"]
)
def test_the_remedy_survives_a_shell_and_fits_its_name(name: str) -> None:
    text = remedy({"GTVn.*": 1}, [name])
    assert text.endswith("patterns are globs, and re: begins a regular expression")
    option = text.split("as in ", 1)[1].split("; patterns")[0]
    done = subprocess.run(["sh", "-c", f"printf %s {option}"], capture_output=True, check=True)
    labels = load(DicomLayout, (), [done.stdout.decode()]).labels
    assert labels is not None
    assert labels == {name: 1}
    assert line_of(table_of(labels), name) == 0


@pytest.mark.parametrize(("names", "text"), [({"re:a(": 1}, "regular"), ({"a": 255}, "0 to 254")])
def test_a_bad_table_is_refused(names: dict[str, int], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        table_of(names)


@pytest.mark.parametrize(
    ("names", "found", "told"),
    [
        ({"GTVn*": 1}, ["GTVn1", "CTV"], ""),
        ({"GTVn*": 1, "LN*": 1}, ["GTVn1"], "'LN*' fits no region of any case: 'GTVn1'"),
        ({"GTVn*": 1, "LN*": 1}, ["GTVn1", "ln 4R"], ""),
        ({"GTVn.*": 1}, ["GTVn1"], "'GTVn.*' fits no region of any case: 'GTVn1'"),
        ({"GTV*": 1, "GTVp": 0}, ["GTVp"], "'GTVp' fits only regions that patterns before it take"),
        ({"GTVp": 0, "GTV*": 1}, ["GTVp", "GTVn"], ""),
        ({"re:LN.*": 1}, [], "'re:LN.*' fits no region of any case: there is none"),
    ],
)
def test_a_pattern_that_no_region_fits_is_told(
    names: dict[str, int], found: list[str], told: str
) -> None:
    notes = unused(names, found)
    assert [note.text for note in notes] == [told] * bool(told)
    assert all(note.severity == "warning" for note in notes)
