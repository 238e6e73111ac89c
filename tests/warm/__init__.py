"""Processes that begin with everything imported: `python()` takes the place of an interpreter.

A command that trains imports for four seconds and trains for one. Here a server imports once, and
forks a process for each command; a client stands for that process in front of whoever started it.
The process is real: its own memory, signals, end and children. Its type checks are off, as a
user's are. What a cold start does (imports, time, the installed script) other tests start cold.
"""

from __future__ import annotations

import atexit
import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


@functools.cache
def python() -> str:
    """Return a program that answers to `-P`, `-W`, `-m`, `-c` and files as this interpreter does.

    Where processes cannot be waited for by a descriptor, or where imports start threads, as they
    may unless OMP_NUM_THREADS is 1, it is this interpreter.
    """
    if not hasattr(os, "pidfd_open"):
        return sys.executable
    folder = Path(tempfile.mkdtemp(prefix="warm-"))  # short: a socket's path has 107 letters
    client = folder / "python"
    body = (HERE / "client.py").read_text("utf-8")
    client.write_text(f"#!{sys.executable} -IS\n{body}", "utf-8")
    client.chmod(0o755)
    words = [sys.executable, "-P", HERE / "server.py", folder / "socket", client]
    # As a shell starts it: what the tests' own process ignores or was given is not passed on.
    server = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/", start_new_session=True
    )
    atexit.register(_end, server)
    assert server.stdout is not None
    if server.stdout.readline() != b"ready\n":
        if os.environ.get("OMP_NUM_THREADS") == "1":
            raise RuntimeError("the server of warm processes did not start")
        return sys.executable
    return str(client)


def _end(server: subprocess.Popen[bytes]) -> None:
    """Close the pipe at whose end the server ends; it does so too where this is never called."""
    assert server.stdin is not None
    server.stdin.close()
    server.wait(30)
