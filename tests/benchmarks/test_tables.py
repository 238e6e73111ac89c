"""The tables of the pages are those of the results beside the scripts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ..loading import loaded

ROOT = Path(__file__).parents[2]


def test_every_table_on_a_page_is_made_of_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    before = set(sys.modules)
    tables = loaded(ROOT / "benchmarks" / "tables.py", "tables_of_pages")
    for name in tables.FILES:
        page = (ROOT / name).read_text(encoding="utf-8")
        assert tables.filled(page) == page, f"{name}: python benchmarks/tables.py makes it anew"
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and "benchmarks" in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]
