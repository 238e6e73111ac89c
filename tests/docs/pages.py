"""Code on pages: blocks, and how they are run one after the other as a notebook would."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ..warm import python

DOCS = Path(__file__).parents[2] / "docs"
HEAD = """
import os, sys
from hilum.cli.app import main

def _run(words):
    if words[0] == "export":
        name, value = words[1].split("=")
        os.environ[name] = value
        sys.path.insert(0, value)
        return
    assert words[0] == "hilum", words
    sys.argv = words
    try:
        main()
    except SystemExit as end:
        assert not end.code, (words, end.code)
"""
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        language: As the fence names it; empty if it does not.
        text: What stands in it.
    """

    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page in order."""
    return [Block(*found) for found in BLOCK.findall(page.read_text("utf-8"))]


def execute(page: Path, folder: Path) -> None:
    """Run every `bash` and `python` block of a page in a folder, in one process.

    Python blocks share one namespace. A line of a `bash` block is a command of hilum, called
    without starting another interpreter, or an export.
    """
    cells = [b for b in blocks(page) if b.language in ("bash", "python")]
    assert cells, f"{page.name} has nothing to run"
    lines = [HEAD, *(b.text if b.language == "python" else _calls(b.text) for b in cells)]
    script = folder / "page.py"
    script.write_text("\n".join(lines), encoding="utf-8")
    env = {**os.environ, "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    words = [python(), "-P", str(script)]
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def _calls(text: str) -> str:
    found = [shlex.split(line, comments=True) for line in text.splitlines()]
    return "\n".join(f"_run({words!r})" for words in found if words)
