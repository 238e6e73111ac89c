"""Run the cells of a study on this machine, in this process or in several.

Any number of runners may work in one folder: each cell is claimed by the runner that has it, and a
runner that finds it claimed goes on to the next one.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from hilum.core.errors import Stopped

from ..grid.cells import Cell
from ..grid.eta import Countdown
from .run_cell import busy, clear_dead, failure, no_room, run_cell, taken

Report = Callable[[str], None]

PAUSE_S = 1.0
"""Seconds between two looks at cells that other runners have."""


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
        Messages of the cells that failed, those of earlier runs included.

    Raises:
        Stopped: If the user asked for it; every running cell has saved its state.
        OSError | UserError: If the disk is full or read-only.
    """
    countdown = Countdown({cell.key: cell.stage for cell in cells if not cell.done}, report)
    if workers <= 1:
        return _drain(cells, tracking, _Voice(report, countdown), sys.stdout)
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    threads = max(1, (os.cpu_count() or 1) // workers)
    children = [
        context.Process(target=_child, args=(list(cells), tracking, threads, queue), daemon=False)
        for _ in range(workers)
    ]
    before = dict(os.environ)
    try:
        for number, child in enumerate(children):
            os.environ |= _environment(number, threads)  # inherited, before torch is imported
            child.start()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return _listen(children, queue, _Voice(report, countdown))


class _Voice:
    """What a worker says: to the user, or by a queue to the process that the user sees."""

    def __init__(self, line: Report, countdown: Countdown) -> None:
        self.line, self.ended, self.elsewhere = line, countdown.ended, countdown.elsewhere


class _Sender:
    """The same, from a child process."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def line(self, text: str) -> None:
        self._queue.put(("line", text))

    def ended(self, key: str, seconds: float, done: bool) -> None:
        self._queue.put(("ended", key, seconds, done))

    def elsewhere(self, key: str) -> None:
        self._queue.put(("elsewhere", key))


def _environment(number: int, threads: int) -> dict[str, str]:
    """Return what a worker's process starts with: its share of the cores, one GPU if there are."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        import torch

        gpus = [str(gpu) for gpu in range(torch.cuda.device_count())]
    else:
        gpus = [gpu for gpu in given.split(",") if gpu]
    own = {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {}
    return {"OMP_NUM_THREADS": str(threads), **own}


def _listen(children: Sequence[Any], queue: Any, voice: _Voice) -> list[str]:
    """Print what the children say until they end; pass a stop on to them."""
    failed: dict[str, None] = {}
    alive = list(children)
    try:
        while alive or not queue.empty():
            alive = [child for child in alive if child.is_alive()]
            while not queue.empty():
                kind, text, *rest = queue.get()
                if kind == "failed":
                    failed[text] = None
                else:
                    getattr(voice, kind)(text, *rest)
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
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_follow_parent, args=(os.getppid(),), daemon=True).start()
    try:
        import torch

        torch.set_num_threads(threads)
        failed = _drain(cells, tracking, _Sender(queue))
    except (Stopped, KeyboardInterrupt) as stop:
        raise SystemExit(getattr(stop, "exit_code", 130)) from None
    except Exception as error:
        queue.put(("failed", f"{type(error).__name__}: {error}"))
        return
    for text in failed:
        queue.put(("failed", text))


def _stop(number: int, frame: Any) -> None:
    raise Stopped(signal.Signals(number).name)


def _follow_parent(parent: int) -> None:
    """Stop when the process that started this one is gone: nobody would hear of the cells."""
    while os.getppid() == parent:
        time.sleep(PAUSE_S)
    os.kill(os.getpid(), signal.SIGTERM)


def _drain(
    cells: Sequence[Cell],
    tracking: dict[str, Any],
    voice: _Voice | _Sender,
    echo: TextIO | None = None,
) -> list[str]:
    """Visit cells in rounds, until each is done or has failed, here or at another runner."""
    failed: dict[Path, str] = {}
    left = [cell for cell in cells if not cell.done]
    while left:
        ran, later = 0, []
        for cell in left:
            began = time.monotonic()
            if _settled(cell, failed, voice.line):
                voice.elsewhere(cell.key)
            elif not _ready(cell) or not _try(cell, tracking, voice.line, echo, failed):
                later.append(cell)
            else:
                ran += 1
                took = time.monotonic() - began
                voice.ended(cell.key, took, cell.folder not in failed)
        left = later
        if left and not ran:
            time.sleep(PAUSE_S)  # the rest is in other runners' hands, or waits for them
    clear_dead(cells)
    return list(failed.values())


def _ready(cell: Cell) -> bool:
    return (cell.needs is None or (cell.needs / "DONE").exists()) and not busy(cell)


def _settled(cell: Cell, failed: dict[Path, str], report: Report) -> bool:
    """Say whether nothing is left to do for a cell; a failure is reported once."""
    if cell.done:
        return True
    if message := failure(cell):
        failed[cell.folder] = f"{cell.name}: {message}"
        report(f"failed    {failed[cell.folder]} (`hilum study retry` clears this)")
    elif cell.needs in failed:
        failed[cell.folder] = f"{cell.name}: its pretraining failed"
    return cell.folder in failed


def _try(
    cell: Cell,
    tracking: dict[str, Any],
    report: Report,
    echo: TextIO | None,
    failed: dict[Path, str],
) -> bool:
    """Run one cell; say whether this runner brought it to an end."""
    began = time.monotonic()
    try:
        run_cell(cell, tracking, report, echo)
    except (Stopped, KeyboardInterrupt):
        raise
    except Exception as error:  # one bad cell must not cost the night
        if taken(error):
            return False
        if no_room(error):
            raise
        failed[cell.folder] = f"{cell.name}: {type(error).__name__}: {error}"
        report(f"failed    {failed[cell.folder]}")
    else:
        report(f"done      {cell.stage} {cell.name}, {time.monotonic() - began:.0f} s")
    return True
