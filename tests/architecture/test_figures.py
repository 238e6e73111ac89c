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
