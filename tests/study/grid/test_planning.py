"""The plan tells what is stale, what is shared, and how long the rest takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hilum.core.errors import SettingsError, StoreError
from hilum.core.files import hash_of_file, read_json, write_json, write_text
from hilum.study.commands import check, plan, read
from hilum.study.grid.cells import Cell
from hilum.study.run import estimate, ledger, stale
from hilum.study.run import run_cell as worker
from hilum.study.run.local import run_cells

OFF = {"mode": "disabled"}


def finish(cell: Cell, seconds: float = 10, size: int = 1000) -> None:
    """Make a folder as a done run leaves it."""
    about: dict[str, Any] = {"stage": cell.stage, "levels": cell.levels, "key": cell.key}
    about |= {"recipe": cell.recipe, "seconds": seconds, "bytes": size}
    if cell.needs is not None:
        about["encoder"] = worker.encoder_mark(cell.needs)
    elif cell.stage == "pretrain":
        write_text(cell.folder / "encoder" / "model.safetensors", "weights")
    write_json(cell.folder / "cell.json", about)
    write_text(cell.folder / "DONE", "")


def test_cells_of_another_store_are_named_stale_and_run_again(
    file: Path, tmp_path: Path, moving: Callable[[str], Path]
) -> None:
    out, store = tmp_path / "out", moving("first")
    _, before = read(file, out, [f"store={store}"])
    for cell in before:
        finish(cell)
    moving("second")
    with pytest.raises(StoreError, match="must not change between the cells"):
        worker.check_data(before[0])
    _, after = read(file, out, [f"store={store}"])
    assert not {cell.key for cell in before} & {cell.key for cell in after}
    entries = ledger.read(after)
    assert {entry.state for entry in entries} == {"new", "waiting"}
    found = stale.stale(entries, out)
    assert {one.folder for one in found} == {cell.folder for cell in before}
    assert {one.why for one in found} == {"its case store has changed"}
    assert "scratch > 1: its case store has changed" in "\n".join(stale.lines(found))


def test_a_cell_whose_encoder_was_replaced_is_named_stale(file: Path, tmp_path: Path) -> None:
    _, cells = read(file, tmp_path / "out")
    for cell in cells:
        finish(cell)
    assert stale.stale(ledger.read(cells), tmp_path / "out") == []
    weights = cells[0].folder / "encoder" / "model.safetensors"
    write_text(weights, "weights")
    assert stale.stale(ledger.read(cells), tmp_path / "out") == [], "the same bytes, a later date"
    write_text(weights, "other weights")
    assert hash_of_file(weights) != worker.notes(cells[-1].folder)["encoder"]["hash"]
    found = stale.stale(ledger.read(cells), tmp_path / "out")
    assert [one.name for one in found] == ["mae > 0", "mae > 1"]


def test_a_removed_level_leaves_its_folders_and_they_are_named(file: Path, tmp_path: Path) -> None:
    _, cells = read(file, tmp_path / "out")
    for cell in cells:
        finish(cell)
    _, fewer = read(file, tmp_path / "out", ["factors.seed=[0]"])
    found = stale.stale(ledger.read(fewer), tmp_path / "out")
    assert [(one.name, one.why) for one in found] == [
        ("mae > 1", "the study has no such cell any more"),
        ("scratch > 1", "the study has no such cell any more"),
    ]


def test_a_factor_that_is_added_later_reuses_what_is_done(file: Path, tmp_path: Path) -> None:
    _, before = read(file, tmp_path / "out")
    for cell in before:
        finish(cell)
    more = ["factors.loss={plain: {}, focal: {loss: {name: focal}}}"]
    _, after = read(file, tmp_path / "out", more)
    entries = ledger.read(after)
    done = {entry.cell.folder for entry in entries if entry.state == "done"}
    assert done == {cell.folder for cell in before}
    assert {entry.cell.levels.get("loss") for entry in entries if entry.state == "new"} == {"focal"}
    assert ledger.summary(entries).endswith("5 done, 4 new")
    assert stale.stale(entries, tmp_path / "out") == []


def test_time_and_disk_come_from_like_cells_then_from_the_stage(file: Path, tmp_path: Path) -> None:
    _, cells = read(file, tmp_path / "out", ["factors.seed=[0, 1, 2]"])
    by_name = {cell.name: cell for cell in cells}
    finish(by_name["mae"], 100, 5_000_000)
    finish(by_name["scratch > 0"], 10, 1_000_000)
    finish(by_name["scratch > 1"], 30, 3_000_000)
    finish(by_name["mae > 0"], 70, 9_000_000)
    found = estimate.estimate(ledger.read(cells), tmp_path / "out")
    assert found.seconds == {"finetune": 20 + 70 + 70}
    assert found.bytes == 20_000_000
    assert estimate.lines(found, 1) == [
        "left: about 3 min of one worker (finetune 3 min) and 20 MB, from 4 cells that are done",
        "budget: what is left is within the 1 h of the study",
    ]
    assert estimate.lines(found, 0.01)[1].startswith(
        "budget: what is left is 2 min more than the 0.01 h"
    )
    entries = ledger.read(cells)
    lines = [*ledger.table(entries), *ledger.shared(entries)]
    assert "encoder     mae: 3 fine-tuning cells start from it" in lines
    assert "7 cells: 1 pretrain, 6 finetune; 4 done, 3 new" in lines


def test_a_calibration_counts_steps_validations_and_what_happens_once(
    file: Path, tmp_path: Path
) -> None:
    _, cells = read(file, tmp_path / "out", ["finetune.trainer.steps=25"])
    assert (
        "time and disk are unknown"
        in estimate.lines(estimate.estimate(ledger.read(cells), tmp_path / "out"), 3)[0]
    )
    numbers = {"step": 2.0, "validation": 10.0, "once": 5.0, "bytes": 1e6}
    write_json(tmp_path / "out" / "calibration.json", {"finetune": numbers})
    found = estimate.estimate(ledger.read(cells), tmp_path / "out")
    assert found.seconds == {"finetune": 4 * (25 * 2 + 3 * 10 + 5)}, "validated at 12, 24 and 25"
    assert (found.bytes, found.unknown) == (4e6, 1)


@pytest.mark.slow
def test_a_short_calibration_tells_the_whole_study(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    lines = plan(file, out, calibrate=True, say=lambda text: None)
    assert any(line.startswith("left: about") for line in lines)
    assert {path.name for path in out.iterdir()} == {".hilum.json", "calibration.json"}
    found = read_json(out / "calibration.json")
    assert set(found) == {"pretrain", "finetune"}
    assert all(numbers["bytes"] > 10_000 for numbers in found.values())


def test_what_is_wrong_with_a_cell_is_told_with_its_levels(file: Path, tmp_path: Path) -> None:
    _, cells = read(file, tmp_path / "out", ["factors.fusoin=[1]"])
    with pytest.raises(SettingsError, match=r"scratch > 0 > 1: fusoin: unknown setting, did you"):
        check(cells)
    _, cells = read(file, tmp_path / "out", ["finetune.trainer.steps=-1"])
    with pytest.raises(SettingsError, match=r"steps: .*greater than or equal to 1"):
        check(cells)


@pytest.mark.slow
def test_cells_of_a_store_that_changes_while_they_run_fail_without_a_note(
    file: Path, tmp_path: Path, moving: Callable[[str], Path]
) -> None:
    _, cells = read(file, tmp_path / "out", [f"store={moving('first')}"])
    moving("second")
    failed = run_cells(cells[1:3], OFF, report=lambda text: None)
    assert [text.split(": ")[:2] for text in failed] == [
        ["scratch > 0", "StoreError"],
        ["scratch > 1", "StoreError"],
    ]
    assert not any((cell.folder / "failed.json").exists() for cell in cells)
