"""Kill a piece of work in front of each of its file operations, in a fork of this process."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGES = frozenset(
    {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.chmod", "os.truncate"}
)
"""Audit events of Python that change a file system; `open` counts where it may write."""


def changes_a_file(event: str, arguments: tuple[Any, ...], within: str) -> bool:
    """Say whether an audit event is about to change something in a folder."""
    if event == "open":
        path, mode, flags = arguments[:3]
        writes = any(c in mode for c in "wax+") if isinstance(mode, str) else False
        flagged = isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        return (writes or flagged) and within in str(path)
    if event == "ctypes.dlsym":
        return arguments[1] == "renameat2"
    return event in CHANGES and any(within in str(argument) for argument in arguments)


def killed_at(work: Callable[[], object], point: int, within: Path) -> bool:
    """Do some work in a fork that is killed in front of its file operation of this number.

    Args:
        work: What to do.
        point: Number of the operation, from 0 on.
        within: Folder whose files count.

    Returns:
        Whether the work was killed; else it came to its end.

    Raises:
        RuntimeError: If the work failed by itself.
    """
    pid = os.fork()
    if pid == 0:
        seen = 0

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal seen
            if changes_a_file(event, arguments, str(within)):
                if seen == point:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen += 1

        code = 1
        try:
            sys.addaudithook(hook)
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"the work failed in front of operation {point}")
    return False


def operations_of(work: Callable[[], object], within: Path) -> int:
    """Do some work in a fork, and return how many operations on the files of a folder it takes.

    Raises:
        RuntimeError: If the work failed.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        seen, code = 0, 1

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal seen
            seen += changes_a_file(event, arguments, str(within))

        try:
            sys.addaudithook(hook)
            work()
            os.write(writing, str(seen).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as stream:
        told = stream.read()
    _, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError("the work failed")
    return int(told)
