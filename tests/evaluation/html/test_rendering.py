"""Text is escaped, a missing value is an error, and every page stands alone."""

from __future__ import annotations

import re

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from hilum.evaluation.html.parts import folded, interval, joined, note, table
from hilum.evaluation.html.rendering import ROOT, render

TEMPLATES = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.j2"))
HOSTILE = "<script>alert('&')</script>"


def test_text_is_escaped_and_markup_is_not() -> None:
    page = render("evaluation/viewer/viewer.html.j2", title=HOSTILE)
    assert "<title>&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;</title>" in page
    assert HOSTILE not in page
    assert HOSTILE not in note(HOSTILE)
    assert "<b>" in note(Markup("<b>bold</b>"))
    assert HOSTILE not in folded(HOSTILE, HOSTILE)
    assert HOSTILE not in joined([Markup("<p>"), HOSTILE])
    found = table([HOSTILE], [[HOSTILE, HOSTILE]], HOSTILE)
    assert HOSTILE not in found
    assert found.count("&lt;script&gt;") == 5  # caption twice: it names the region, too


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="title"):
        render("evaluation/viewer/viewer.html.j2")


def test_a_long_table_is_folded_with_every_row_in_it() -> None:
    rows = [[f"row {number}", "1"] for number in range(40)]
    found = table(["name", "value"], rows, "All", most=24)
    shown, rest = found.split("<details>")
    assert "16 more rows" in rest
    assert [f"row {n}<" in shown for n in range(40)] == [n < 24 for n in range(40)]
    assert [f"row {n}<" in rest for n in range(40)] == [n >= 24 for n in range(40)]
    assert "<details>" not in table(["name", "value"], rows[:28], most=24)


def test_an_interval_is_a_number_a_range_or_a_dash() -> None:
    nan = float("nan")
    assert interval(0.5, 0.25, 0.75) == "0.500 <small>[0.250, 0.750]</small>"
    assert interval(0.5, -0.25, 0.75, 1, sign=True) == "+0.5 <small>[-0.2, +0.8]</small>"
    assert interval(0.5, nan, nan) == "0.500"
    assert interval(nan, 0.0, 1.0) == "–"


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_take_styles_and_scripts_in_and_nothing_from_outside(name: str) -> None:
    text = (ROOT / name).read_text()
    for file in re.findall(r'inline\("([^"]+)"\)', text):
        content = (ROOT / file).read_text()
        assert "</" not in content, "it would end the element that it stands in"
        assert not re.search(r"url\(|@import|https?:", content)
    assert not re.search(r"(src|href)=.https?:|<script src|rel=.stylesheet", text)
    assert "|safe" not in text.replace(" ", ""), "markup is marked where it is made"


def test_every_style_and_script_is_used_by_a_page() -> None:
    used = {
        file
        for name in TEMPLATES
        for file in re.findall(r'inline\("([^"]+)"', (ROOT / name).read_text())
    }
    there = {str(p.relative_to(ROOT)) for kind in ("css", "js") for p in ROOT.rglob(f"*.{kind}")}
    assert used == there
