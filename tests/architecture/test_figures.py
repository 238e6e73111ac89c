"""The tables of the documentation are those that the committed results make."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
OWN = ("tables", "targets", "scaling")


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Return the script that makes the tables."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("tables")
    for name in OWN:
        sys.modules.pop(name, None)


def test_every_table_is_up_to_date(tables: ModuleType) -> None:
    for name in tables.FILES:
        page = (ROOT / name).read_text(encoding="utf-8")
        assert tables.filled(page) == page, f"run python benchmarks/tables.py: {name} is old"


def test_a_table_follows_the_results(tables: ModuleType, tmp_path: Path) -> None:
    row = {"what": "transport of a patch", "ms": {"hilum, 2 threads": [1, 3, 4]}}
    (tmp_path / "transport.json").write_text(json.dumps({"rows": [row]}))
    text = tables.filled("a\n<!-- targets -->\nold\n<!-- end targets -->\nb", tmp_path)
    assert "| <= 2 ms | **3** ms (1 to 4) | **missed** |" in text
    assert "not measured" in text
    assert "old" not in text
    assert text.startswith("a\n")
    assert text.endswith("\nb")


def test_growth_is_what_a_case_more_costs_and_sizes_measured_apart_are_put_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("scale_flow")
    for name in ("scale_flow", "scale", "cohort", "timing"):
        sys.modules.pop(name, None)
    seconds = {("check", 300): 17.0, ("plan", 100): 2.0, ("check", 100): 5.0, ("check", 200): 7.0}
    rows = [{"what": f"{name}, {n} cases", "cpu_s": s} for (name, n), s in seconds.items()]
    found = [(row["what"], row.get("growth, ms a case")) for row in module.with_growth(rows)]
    assert found == [
        ("check, 100 cases", None),
        ("check, 200 cases", 20.0),
        ("check, 300 cases", 100.0),
        ("plan, 100 cases", None),
    ]
