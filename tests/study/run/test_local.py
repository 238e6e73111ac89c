"""Cells run once each, in order, and one bad cell does not stop the others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from multiprocessing import spawn, util
from pathlib import Path
from typing import Any

import pytest

from hilum.core.errors import DataError
from hilum.core.files import write_text
from hilum.core.locks import Watch, take
from hilum.study.grid.cells import Cell
from hilum.study.run import ledger, run_cell
from hilum.study.run import local as engine

from ...kill_points import killed_at, operations_of
from ...warm import python, spawned


def cell(out: Path, name: str, needs: Path | None = None) -> Cell:
    stage = "finetune" if needs else "pretrain"
    return Cell(stage, {"arm": name}, {}, name, out / name, needs)


def run(out: Path) -> list[str]:
    """Run a study of one cell."""
    (out / "finetune").mkdir(parents=True, exist_ok=True)
    return engine.run_cells([cell(out / "finetune", "a")], {}, report=lambda text: None)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    lock = take(path, Watch())
    try:
        yield
    finally:
        lock.release()


class Runs:
    """Stands in for the two commands, which have tests of their own."""

    def __init__(self, bad: str = "") -> None:
        self.ran: list[str] = []
        self.bad = bad

    def __call__(
        self, cell: Cell, tracking: dict[str, Any], report: engine.Report, echo: Any = None
    ) -> None:
        self.ran.append(cell.key)
        if cell.key == self.bad:
            raise DataError("every scan must be whole", case="case_7")
        cell.folder.mkdir(parents=True, exist_ok=True)
        write_text(cell.folder / "DONE", "")


def test_each_cell_runs_once_after_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cell(tmp_path, "p")
    cells = [first, cell(tmp_path, "a", first.folder), cell(tmp_path, "b", first.folder)]
    runs = Runs()
    monkeypatch.setattr(engine, "run_cell", runs)
    assert engine.run_cells(cells, {}, report=lambda text: None) == []
    assert runs.ran == ["p", "a", "b"]
    assert engine.run_cells(cells, {}, report=lambda text: None) == []
    assert runs.ran == ["p", "a", "b"], "a done cell must not run again"


def test_a_runner_that_is_killed_anywhere_leaves_no_lock_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that is killed when its cell is just done, which nobody claims again."""

    def command(cell: Cell, tracking: dict[str, Any]) -> None:
        with held(cell.folder / "lock"):
            write_text(cell.folder / "DONE", "")

    monkeypatch.setattr(run_cell, "_told", command)
    count = operations_of(lambda: run(tmp_path / "calm"), tmp_path)
    assert count > 10
    done = []
    for point in range(count):
        out = tmp_path / f"wild-{point}"
        assert killed_at(lambda out=out: run(out), point, out) or point == count - 1
        done.append((out / "finetune" / "a" / "DONE").exists())
        assert run(out) == []
        rest = [p.name for p in out.rglob("*") if p.name.startswith(".") or "lock" in p.name]
        assert rest == [], f"{point}, done before: {done[-1]}"
    assert any(done[:-1]), "none was killed when its cell was done"


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers begin with torch imported."""
    for module, name in ((spawn, "get_command_line"), (util, "spawnv_passfds")):
        monkeypatch.setattr(module, name, getattr(module, name))
    spawned.by(python)


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_two_workers_count_down_together(tmp_path: Path) -> None:
    cells = [cell(tmp_path, name) for name in "abcd"]  # real ones, whose settings are wrong
    lines: list[str] = []
    failed = engine.run_cells(cells, {}, workers=2, report=lines.append)
    assert sorted(text[0] for text in failed) == list("abcd")
    left = [line.split(",")[0] for line in lines if " left," in line]
    assert left == ["3 cells left", "2 cells left", "1 cell left"]


def test_a_bad_cell_is_reported_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cell(tmp_path, "p")
    other = cell(tmp_path, "q")
    cells = [first, other, cell(tmp_path, "a", first.folder), cell(tmp_path, "b", other.folder)]
    runs, lines = Runs(bad="p"), []
    monkeypatch.setattr(engine, "run_cell", runs)
    failed = engine.run_cells(cells, {}, report=lines.append)
    assert runs.ran == ["p", "q", "b"]
    assert failed == [
        "p: DataError: case case_7: every scan must be whole",
        "a: its pretraining failed",
    ]
    [first_left] = [line for line in lines if line.startswith("3 cells left")]
    assert "time unknown" in first_left, "a failure says nothing of how long the others take"
    states = {entry.cell.key: entry.state for entry in ledger.read(cells)}
    assert states == {"p": "new", "q": "done", "a": "waiting", "b": "done"}


def test_the_ledger_counts_states(tmp_path: Path) -> None:
    first = cell(tmp_path, "p")
    entries = ledger.read([first, cell(tmp_path, "a", first.folder)])
    assert ledger.summary(entries) == "2 cells: 1 pretrain, 1 finetune; 1 waiting, 1 new"
    assert ledger.table(entries)[0].split() == ["new", "pretrain", "p"]
