"""The command line in this process or in one of its own, without loading torch again."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

from hilum.cli.app import main

from .warm import python


def hilum(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command, and return its exit code and what it wrote."""
    line = ["hilum", *map(str, words)]
    out, err = io.StringIO(), io.StringIO()
    before, place = sys.argv, Path.cwd()
    sys.argv = line
    os.chdir(cwd or place)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.argv = before
        os.chdir(place)
    return subprocess.CompletedProcess(line, code, out.getvalue(), err.getvalue())


def process_of(*words: str | Path) -> list[str]:
    """Return what starts a command as a process, without the type checks of the tests."""
    return [python(), "-P", "-m", "hilum", *map(str, words)]


def script(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the installed command as a process that starts cold, without the type checks."""
    line = [Path(sys.executable).with_name("hilum"), *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
