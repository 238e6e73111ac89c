"""The rooms import one way only, every room is packaged and linked, and files stay short."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MAY_IMPORT = {
    "core": set(),
    "datasets": {"core"},
    "encoders": {"core"},
    "fusion": {"core"},
    "evaluation": {"core"},
    "training": {"core"},
    "pretrain": {"core", "datasets", "encoders", "training"},
    "finetune": {"core", "datasets", "encoders", "fusion", "evaluation", "training"},
}
MAY_IMPORT["exchange"] = set(MAY_IMPORT) - {"pretrain"}
MAY_IMPORT["study"] = set(MAY_IMPORT) | {"study"}
MAY_IMPORT["hilum"] = set(MAY_IMPORT)
ROOMS = [room for room in MAY_IMPORT if room != "hilum"]
FILES = [path for room in MAY_IMPORT for path in sorted((ROOT / room).glob("**/*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_rooms_that_come_before_it(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    for other in rooms_imported(path):
        assert other == room or other in MAY_IMPORT[room], f"{room} must not import {other}"


def test_a_wrong_arrow_is_found(tmp_path: Path) -> None:
    planted = tmp_path / "core" / "planted.py"
    planted.parent.mkdir()
    planted.write_text("from ..fusion.early import EarlyFusion\nimport hilum.study.report\n")
    assert rooms_imported(planted) == {"fusion", "study"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_has_a_purpose_and_at_most_300_lines(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    assert text.startswith('"""'), "the first line must say what the file is for"
    assert path.stem not in {"utils", "helpers", "common", "misc"}


def test_every_room_is_packaged_and_linked_for_static_tools() -> None:
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    on_disk = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert on_disk == set(MAY_IMPORT)
    assert set(setup["packages"]) == {"hilum", *(f"hilum.{room}" for room in ROOMS)}
    assert setup["package-dir"] == {"hilum": "hilum", **{f"hilum.{room}": room for room in ROOMS}}
    for room in ROOMS:
        assert (ROOT / "typings" / "hilum" / room).resolve() == ROOT / room


@pytest.mark.parametrize(
    ("room", "table", "suffix"),
    [
        ("encoders", "ENCODERS", "Encoder"),
        ("fusion", "STRATEGIES", "Fusion"),
        ("pretrain", "TASKS", ""),
    ],
)
def test_the_name_is_the_address(room: str, table: str, suffix: str) -> None:
    methods = getattr(importlib.import_module(f"hilum.{room}"), table)
    for name in methods:
        assert methods[name].__module__ == f"hilum.{room}.{name}"
        assert methods[name].__name__ == "".join(w.title() for w in name.split("_")) + suffix
        assert (ROOT / "tests" / room / f"test_{name}.py").exists()


def test_hugging_face_datasets_is_not_shadowed_by_our_room() -> None:
    code = "import importlib.util as u; s = u.find_spec('datasets'); print(s.origin if s else s)"
    found = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert str(ROOT / "datasets") not in found.stdout


def rooms_imported(path: Path) -> set[str]:
    """Return the rooms that a file imports, relative or absolute."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 2:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            rooms |= {name.split(".")[0] for name in names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hilum."):
            rooms |= {str(node.module).split(".")[1]} & set(MAY_IMPORT)
        elif isinstance(node, ast.Import):
            rooms |= {a.name.split(".")[1] for a in node.names if a.name.startswith("hilum.")}
    return rooms
