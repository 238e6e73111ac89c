"""What the command line shows: progress with an estimate on a terminal, plain lines elsewhere."""

from __future__ import annotations

import functools
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, ParamSpec, TypeVar

from hilum.core.errors import Stopped

P = ParamSpec("P")
R = TypeVar("R")

Progress = Callable[[int, int, str], None]
"""Called with how many are done, how many there are, and what is being done."""


@contextmanager
def progress(what: str) -> Iterator[Progress]:
    """Show how far a loop over cases is, and when it will end.

    A command may count twice, as an import does: headers, then cases. The time of the first says
    nothing about the second, so it is measured again from there.
    """
    if sys.stderr.isatty():
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[now]}"),
        )
        with Bar(*columns, transient=True) as bar:
            task = bar.add_task(what, total=None, now="")
            counted = 0

            def move(done: int, total: int, name: str) -> None:
                nonlocal counted
                if done < counted:
                    bar.reset(task)
                counted = done
                bar.update(task, completed=done, total=total, now=name)

            yield move
        return
    began = last = time.monotonic()
    before = 0

    def line(done: int, total: int, name: str) -> None:
        nonlocal began, last, before
        now = time.monotonic()
        if done < before:
            began = last
        before = done
        if done and (done == total or now - last >= 10):
            last = now
            left = (now - began) / done * (total - done)
            say(f"{what} {done}/{total}, {now - began:.0f} s, about {left:.0f} s left ({name})")

    yield line


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def clean_stop(command: Callable[P, R]) -> Callable[P, R]:
    """Turn Ctrl-C and SIGTERM inside a command into a clean stop with its exit code."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        before = signal.signal(signal.SIGTERM, _stop)
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt:
            raise Stopped("Ctrl-C", 130) from None
        finally:
            signal.signal(signal.SIGTERM, before)

    return guarded


def _stop(number: int, frame: Any) -> NoReturn:
    raise Stopped("SIGTERM")
