"""A command that is killed anywhere is run again, and leaves what an undisturbed one does.

Some points of each command are tried here; `python benchmarks/chaos.py --points` tries all.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ..kill_points import killed_at, operations_of
from ..tiny_cohort import manifest, store
from .test_outputs import COMMANDS, places, run

__all__ = ["manifest", "places", "run", "store"]

KILLED = ("phantom", "import", "check", "prepare", "export-nnunet", "average", "export")
KILLED += ("predict", "evaluate", "import-weights")
EVERY = int(os.environ.get("HILUM_KILL_EVERY", "0"))
"""Try points at this distance; 0 tries three of them."""

Run = Callable[[str, Path], int]


def left(out: Path) -> dict[str, object]:
    """Return what a command left, without times and the folder's own name."""
    found: dict[str, object] = {}
    for path in sorted(out.rglob("*")):
        if not path.is_file():
            continue
        content: object = path.read_bytes()
        if path.suffix == ".json":
            text = path.read_text().replace(str(out), "OUT")
            content = without_times(json.loads(text))
        elif path.suffix in (".html", ".md", ".csv", ".yaml"):
            content = re.sub(r"\d+\.\d+", "n", path.read_text().replace(str(out), "OUT"))
        elif path.suffix == ".pt":
            content = path.stat().st_size
        found[str(path.relative_to(out))] = content
    return found


def without_times(value: object) -> object:
    """Return JSON without seconds and without hashes of files that hold the time of writing."""
    if isinstance(value, Mapping):
        volatile = ("seconds", "files", "seen")
        return {k: without_times(v) for k, v in value.items() if k not in volatile}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def points(count: int) -> list[int]:
    """Return the operations to be killed at: the second, one inside, and the last; or all."""
    return list(range(0, count, EVERY)) if EVERY else sorted({1, count // 2, count - 1})


@pytest.mark.slow
@pytest.mark.parametrize("command", KILLED)
def test_a_command_that_was_killed_is_run_again(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    calm = tmp_path / "calm" / "Dataset501_x"
    calm.parent.mkdir()
    count = operations_of(lambda: run(COMMANDS[command], calm), calm.parent)
    expected = left(calm)
    assert count > 3
    assert len(expected) > 1
    for point in points(count):
        place = tmp_path / f"wild-{point}"
        place.mkdir()
        out = place / "Dataset501_x"
        assert killed_at(lambda out=out: run(COMMANDS[command], out), point, place)
        assert run(COMMANDS[command], out) in (0, 1), f"{point}: {capsys.readouterr().err}"
        assert left(out) == expected, point
        rest = [path for path in place.rglob(".*") if path.name != ".hilum.json"]
        assert rest == [], point
