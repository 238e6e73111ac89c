"""The rooms import one way only, every room is packaged and linked, and files stay short."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
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
ROOMS = list(MAY_IMPORT)
STAGES = ("datasets", "fusion", "pretrain", "finetune")
FILES = [path for room in ROOMS for path in sorted((ROOT / "hilum" / room).glob("**/*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_rooms_that_come_before_it(path: Path) -> None:
    room = path.relative_to(ROOT).parts[1]
    for other in rooms_imported(path):
        assert other == room or other in MAY_IMPORT[room], f"{room} must not import {other}"


def test_a_wrong_arrow_is_found(tmp_path: Path) -> None:
    planted = tmp_path / "core" / "planted.py"
    planted.parent.mkdir()
    planted.write_text("from hilum.fusion.early import EarlyFusion\nimport hilum.study.report\n")
    assert rooms_imported(planted) == {"fusion", "study"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_has_a_purpose_and_at_most_300_lines(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    assert text.startswith('"""'), "the first line must say what the file is for"
    assert path.stem not in {"utils", "helpers", "common", "misc"}


def test_every_room_is_in_the_package_and_the_stages_are_links() -> None:
    on_disk = {path.parent.name for path in (ROOT / "hilum").glob("*/__init__.py")}
    assert on_disk == set(ROOMS)
    for room in STAGES:
        assert (ROOT / "hilum" / room).readlink() == Path("..") / room
        assert (ROOT / room / "__init__.py").is_file()


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
    """Return the rooms that a file imports from outside its own."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hilum."):
            rooms |= {str(node.module).split(".")[1]} & set(MAY_IMPORT)
        elif isinstance(node, ast.Import):
            rooms |= {a.name.split(".")[1] for a in node.names if a.name.startswith("hilum.")}
    return rooms
