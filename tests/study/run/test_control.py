"""Failures are noted, cleared and tried again; logs are found; a cancel ends every runner."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from hilum.core.errors import Stopped, UserError
from hilum.core.files import read_json, write_text
from hilum.core.locks import Watch, take
from hilum.core.runs import WATCH
from hilum.study.commands import check, collect, read
from hilum.study.grid.cells import Cell
from hilum.study.run import control, ledger
from hilum.study.run import run_cell as worker
from hilum.study.run.local import run_cells

from ...command import process_of

OFF = {"mode": "disabled"}


def bad(tmp_path: Path, name: str, needs: Path | None = None) -> Cell:
    """Return a cell whose store is not there."""
    stage = "finetune" if needs else "pretrain"
    settings = {"store": str(tmp_path / "nothing")}
    return Cell(stage, {"arm": name}, settings, f"key{name}", tmp_path / stage / name, needs)


@pytest.mark.slow
def test_a_failure_is_noted_and_not_tried_again_until_it_is_cleared(tmp_path: Path) -> None:
    cells = [bad(tmp_path, "p"), bad(tmp_path, "q")]
    cells.append(bad(tmp_path, "after", cells[0].folder))
    lines: list[str] = []
    failed = run_cells(cells, OFF, report=lines.append)
    assert [text.split(":")[0] for text in failed] == ["p", "q", "after"]
    assert "Traceback" in (cells[0].folder / "log.txt").read_text()
    assert read_json(cells[0].folder / "failed.json")["pid"] == os.getpid()
    lines.clear()
    assert run_cells(cells, OFF, report=lines.append) == failed
    assert not [line for line in lines if line.startswith("starting")]
    assert [entry.state for entry in ledger.read(cells)] == ["failed", "failed", "waiting"]
    assert control.retry(cells, ["q"]) == ["cleared   q"]
    assert [entry.state for entry in ledger.read(cells)][:2] == ["failed", "new"]
    assert control.retry(cells) == ["cleared   p"]
    assert control.retry(cells) == ["no cell has failed"]
    run_cells(cells, OFF, report=lines.append)
    assert sum(line.startswith("starting") for line in lines) == 2


def test_a_claimed_cell_is_neither_announced_nor_written_to(tmp_path: Path) -> None:
    cell = bad(tmp_path, "p")
    cell.folder.parent.mkdir()
    lock = take(worker.claim(cell), Watch())
    lines: list[str] = []
    with pytest.raises(UserError, match="in use"):
        worker.run_cell(cell, OFF, lines.append)
    assert worker.busy(cell)
    assert lines == []
    assert not cell.folder.exists()
    lock.release()
    assert not worker.busy(cell)


def test_what_a_killed_runner_had_half_written_goes_with_the_next_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_command", lambda cell, tracking: None)
    cell = bad(tmp_path, "p")
    part = cell.folder / "checkpoints" / ".part-x.ckpt"
    write_text(part, "half")
    other = take(cell.folder / "lock", Watch())
    worker.run_cell(cell, OFF, lambda text: None)
    assert part.exists(), "somebody writes it now"
    other.release()
    worker.run_cell(cell, OFF, lambda text: None)
    assert not part.exists()


def test_logs_are_found_by_part_of_a_name_and_the_latest_without_one(tmp_path: Path) -> None:
    cells = [bad(tmp_path, "early"), bad(tmp_path, "late"), bad(tmp_path, "latest")]
    with pytest.raises(UserError, match="must have run"):
        control.logs(cells)
    for number, cell in enumerate(cells[:2]):
        write_text(cell.folder / "log.txt", "".join(f"{cell.name} {n}\n" for n in range(9)))
        os.utime(cell.folder / "log.txt", (number, number))
    assert control.logs(cells, "EARL", 2)[1:] == ["early 7", "early 8"]
    assert control.logs(cells, lines=1)[1:] == ["late 8"]
    assert control.logs(cells, "late", lines=1)[1:] == ["late 8"], "an exact name is the only one"
    with pytest.raises(UserError, match="did you mean 'early'"):
        control.logs(cells, "eary")


def test_a_cancel_ends_a_block_once_and_not_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "LOOK_S", 0.05)
    assert control.cancel(tmp_path, []) == ["no cell is running"]
    with control.cancellable(tmp_path):
        time.sleep(0.2)
    with (  # noqa: PT012 - the block is what is ended
        pytest.raises(Stopped, match="hilum study cancel") as stop,
        control.cancellable(tmp_path),
    ):
        control.cancel(tmp_path, [])
        time.sleep(5)
    assert stop.value.exit_code == 130


def test_a_full_disk_ends_the_runner_instead_of_failing_every_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker, "_command", full)
    cells = [bad(tmp_path, "p"), bad(tmp_path, "q")]
    with pytest.raises(OSError, match="No space"):
        run_cells(cells, OFF, report=lambda text: None)
    assert not (cells[0].folder / "failed.json").exists()
    assert not cells[1].folder.exists()


@pytest.mark.slow
def test_a_study_runs_is_collected_and_names_its_cost(file: Path, tmp_path: Path) -> None:
    _, cells = read(file, tmp_path / "out")
    check(cells)
    lines: list[str] = []
    assert run_cells(cells, OFF, report=lines.append) == []
    assert [line.split()[0] for line in lines].count("starting") == 5
    about = worker.notes(cells[-1].folder)
    assert about["seconds"] > 0
    assert about["bytes"] > 10_000
    assert "test Dice" in (cells[-1].folder / "log.txt").read_text()
    tables = [path.read_text().splitlines() for path in collect(file, tmp_path / "out")]
    assert len(tables[0]) == 1 + 4 * 2, "four cells, two test patients"
    assert {row.split(",")[0] for row in tables[1][1:]} == {"pretext: scratch", "pretext: mae"}
    assert len(tables[2]) == 2


@pytest.mark.slow
def test_a_cancel_ends_a_runner_and_its_cell_goes_on_later(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    more = [str(file), "--out", str(out), "pretrain.trainer.steps=4000"]
    runner = subprocess.Popen(process_of("study", "run", *more), stdout=subprocess.DEVNULL)
    _, cells = read(file, out, more[3:])
    status = cells[0].folder / "status.json"
    while runner.poll() is None and not (status.exists() and read_json(status).get("step")):
        time.sleep(0.1)
    subprocess.run(process_of("study", "cancel", *more), check=True, timeout=60)
    assert runner.wait(timeout=60) == 130
    assert [entry.state for entry in ledger.read(cells)] == ["interrupted", *["new"] * 2] + [
        "waiting"
    ] * 2
    assert not WATCH.owner(worker.claim(cells[0]))
    assert (cells[0].folder / "checkpoints" / "last.ckpt").exists()
