"""No page, recipe or source has a common misspelling."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .pages import DOCS

ROOT = DOCS.parent
READ = ("README.md", "CONTRIBUTING.md", "docs", "recipes", "examples", "benchmarks")
ROOMS = ("hilum", "datasets", "fusion", "pretrain", "finetune")


def misspelt(*places: str | Path) -> str:
    command = [sys.executable, "-m", "codespell_lib", "--toml", str(ROOT / "pyproject.toml")]
    done = subprocess.run(
        [*command, *map(str, places)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert not done.stderr, done.stderr
    return done.stdout


def test_nothing_that_is_read_is_misspelt(tmp_path: Path) -> None:
    pytest.importorskip("codespell_lib")
    assert not misspelt(*READ, *ROOMS)
    wrong = tmp_path / "page.md"
    wrong.write_text("The recieved lables", encoding="utf-8")
    assert "recieved ==> received" in misspelt(wrong)
