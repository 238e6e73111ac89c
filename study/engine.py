"""Run the cells of a study on this machine, in this process or in several.

Any number of runners may work in one folder: each cell is locked by the run that has it, and a
runner that finds a lock goes on to the next cell.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import RunError, Stopped
from ..core.files import write_json
from ..core.runs import RunFolder
from .cells import Cell, resolve

Report = Callable[[str], None]


def run_cells(
    cells: Sequence[Cell], tracking: dict[str, Any], *, workers: int = 1, report: Report = print
) -> list[str]:
    """Run every cell that is not done, pretraining first; a failed cell does not stop the others.

    Args:
        cells: In an order in which no cell comes before what it needs.
        tracking: W&B mode and project; each cell adds its group, name and id.
        workers: Processes; one cell each at a time, the cores shared among them.
        report: Gets one line when a cell begins and ends.

    Returns:
        Messages of the cells that failed.

    Raises:
        Stopped: If the user asked for it; every running cell has saved its state.
    """
    if workers <= 1:
        return _drain(cells, tracking, report)
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    threads = max(1, (os.cpu_count() or 1) // workers)
    children = [
        context.Process(target=_child, args=(list(cells), tracking, threads, queue), daemon=False)
        for _ in range(workers)
    ]
    # The children inherit the variable; it must be there before they import torch.
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        for child in children:
            child.start()
    finally:
        os.environ.pop("OMP_NUM_THREADS", None)
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before
    return _listen(children, queue, report)


def _listen(children: Sequence[Any], queue: Any, report: Report) -> list[str]:
    """Print what the children say until they end; pass a stop on to them."""
    failed: dict[str, None] = {}
    alive = list(children)
    try:
        while alive or not queue.empty():
            alive = [child for child in alive if child.is_alive()]
            while not queue.empty():
                kind, text = queue.get()
                if kind == "failed":
                    failed[text] = None
                else:
                    report(text)
            time.sleep(0.2)
    except (KeyboardInterrupt, Stopped) as stop:
        for child in alive:
            os.kill(child.pid, signal.SIGTERM)
        for child in alive:
            child.join(timeout=60)
        code = stop.exit_code if isinstance(stop, Stopped) else 130
        raise Stopped("Ctrl-C" if code == 130 else "SIGTERM", code) from None
    codes = {child.exitcode for child in children} - {0}
    if codes & {75, 130}:
        raise Stopped("SIGTERM", 75)
    return [*failed, *(f"a worker died with exit code {code}" for code in codes)]


def _child(cells: list[Cell], tracking: dict[str, Any], threads: int, queue: Any) -> None:
    import torch

    torch.set_num_threads(threads)
    try:
        failed = _drain(cells, tracking, lambda text: queue.put(("line", text)))
    except (Stopped, KeyboardInterrupt) as stop:
        raise SystemExit(getattr(stop, "exit_code", 130)) from None
    for text in failed:
        queue.put(("failed", text))


def _drain(cells: Sequence[Cell], tracking: dict[str, Any], report: Report) -> list[str]:
    """Run cells one after another until none is left that this runner could run."""
    failed: dict[Path, str] = {}
    started, first_left = time.monotonic(), None
    while True:
        open_cells = [c for c in cells if not _done(c) and c.folder not in failed]
        ready = [c for c in open_cells if c.needs is None or (c.needs / "DONE").exists()]
        blocked = [c for c in open_cells if c.needs in failed]
        for cell in blocked:
            failed[cell.folder] = f"{cell.name}: its pretraining failed"
        if not open_cells:
            return list(failed.values())
        first_left = first_left or len(open_cells)
        if not any(_try(cell, tracking, report, failed) for cell in ready):
            time.sleep(1)  # the rest is in other runners' hands, or waits for them
            continue
        left = sum(not _done(c) and c.folder not in failed for c in cells)
        if 0 < left < first_left:
            each = (time.monotonic() - started) / (first_left - left)
            report(f"{left} cells left, about {left * each / 60:.1f} min")


def _try(cell: Cell, tracking: dict[str, Any], report: Report, failed: dict[Path, str]) -> bool:
    """Run one cell; say whether this runner brought it to an end."""
    if _done(cell) or cell.folder in failed or RunFolder.in_use(cell.folder):
        return False
    began = time.monotonic()
    try:
        _run(cell, tracking, report)
    except RunError as error:
        if "in use" in error.rule:
            return False
        failed[cell.folder] = f"{cell.name}: {error}"
    except (Stopped, KeyboardInterrupt):
        raise
    except Exception as error:  # one bad cell must not cost the night
        failed[cell.folder] = f"{cell.name}: {type(error).__name__}: {error}"
    if cell.folder in failed:
        report(f"failed    {failed[cell.folder]}")
    else:
        report(f"done      {cell.stage} {cell.name}, {time.monotonic() - began:.0f} s")
    return True


def _run(cell: Cell, tracking: dict[str, Any], report: Report) -> None:
    """Run one cell as its command would."""
    own = {
        **tracking,
        "group": tracking.get("group") or ("pretrain" if cell.stage == "pretrain" else "finetune"),
        "job_type": cell.stage,
        "name": cell.name,
        "id": cell.key,
        "tags": [f"{name}:{level}" for name, level in cell.levels.items()],
    }
    cell.folder.mkdir(parents=True, exist_ok=True)
    write_json(
        cell.folder / "cell.json", {"stage": cell.stage, "levels": cell.levels, "key": cell.key}
    )
    report(f"starting  {cell.stage} {cell.name}")
    if cell.stage == "pretrain":
        from ..pretrain.run import pretrain
        from ..pretrain.settings import PretrainSettings

        pretrain(resolve(cell, PretrainSettings, own), cell.folder)
    else:
        from ..finetune.run import finetune
        from ..finetune.settings import FinetuneSettings

        finetune(resolve(cell, FinetuneSettings, own), cell.folder)


def _done(cell: Cell) -> bool:
    return (cell.folder / "DONE").exists()
