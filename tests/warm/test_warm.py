"""A warm process is in every way that a test can see the process that an interpreter starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from . import python

PROGRAM = """
import os, sys
print(sys.argv[1:], os.getcwd(), os.environ["MINE"], os.environ.get("OMITTED"))
print("wrong", file=sys.stderr)
print(sys.stdin.read())
import atexit; atexit.register(print, "at the end")
sys.exit(int(sys.argv[1]))
"""
WAITS = "import time; print('here', flush=True); time.sleep(60)"


def answers(interpreter: str, folder: Path, *words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [interpreter, "-P", *words], cwd=folder, env={"MINE": "1", "PATH": os.environ["PATH"]},
        input="given", capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr.splitlines()[-1] if done.stderr else ""


@pytest.mark.parametrize("how", ["code", "file", "module"])
def test_it_answers_as_a_cold_one(how: str, tmp_path: Path) -> None:
    """Words, folder, environment, the three streams, the end and its code."""
    (tmp_path / "program.py").write_text(PROGRAM)
    words = {
        "code": ("-c", PROGRAM, "3"),
        "file": ("program.py", "3"),
        "module": ("-m", "json.tool", "--no-such-option"),
    }[how]
    cold, warm = answers(sys.executable, tmp_path, *words), answers(python(), tmp_path, *words)
    assert warm == cold
    assert cold[0] == (2 if how == "module" else 3)


def test_what_it_raises_ends_it_as_it_ends_a_cold_one(tmp_path: Path) -> None:
    for program in ("raise ValueError('why')", "import sys; sys.exit('because')"):
        words = ("-c", program)
        assert answers(python(), tmp_path, *words) == answers(sys.executable, tmp_path, *words)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_to_it_reaches_the_process(sent: signal.Signals) -> None:
    program = "import os; print(os.getpid(), flush=True); " + WAITS
    with subprocess.Popen(
        [python(), "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        # Tests that were started in the background of a script ignore it, and hand that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as started:
        assert started.stdout is not None
        process = int(started.stdout.readline())
        started.stdout.readline()
        started.send_signal(sent)
        code = started.wait(60)
    assert code == -sent
    until = time.monotonic() + 60
    while Path(f"/proc/{process}").exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert not Path(f"/proc/{process}").exists()


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.default_int_handler])
def test_what_its_parent_ignores_it_ignores_as_a_cold_one_does(handler: Any) -> None:
    words = ["-c", "import signal; print(signal.getsignal(signal.SIGINT))"]
    told = [
        subprocess.run(
            [program, *words],
            capture_output=True,
            text=True,
            check=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, handler),
        ).stdout.split(" at 0x")[0]
        for program in (sys.executable, python())
    ]
    assert told[0] == told[1]


def test_it_starts_with_torch_and_its_children_do_too() -> None:
    program = "import sys; print('torch' in sys.modules)"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}])"
    done = subprocess.run([python(), "-c", start], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
