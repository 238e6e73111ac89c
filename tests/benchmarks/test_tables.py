"""The tables of the pages are those of the results beside the scripts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]


def test_every_table_on_a_page_is_made_of_the_results(
    benchmark: Callable[[str], ModuleType],
) -> None:
    tables = benchmark("tables")
    for name in tables.FILES:
        page = (ROOT / name).read_text(encoding="utf-8")
        assert tables.filled(page) == page, f"{name}: python benchmarks/tables.py makes it anew"
