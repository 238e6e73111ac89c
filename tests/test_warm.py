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

from .warm import python

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


def family(folder: Path, interpreter: str) -> list[str]:
    """Return what a spawned process says, and one that it spawns: a result, a parent, torch."""
    (folder / "family.py").write_text(FAMILY)
    words = [interpreter, "family.py"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


FAMILY = """
import os, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

def child(number, parent):
    return number * 2, os.getppid() == parent, os.environ["MINE"], "torch" in sys.modules

def grandchild(number, parent):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return child(number, parent), pool.submit(child, number + 1, os.getpid()).result()

if __name__ == "__main__":
    os.environ["MINE"] = "given"
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        print(*pool.map(grandchild, [1, 3], [os.getpid()] * 2), sep="\\n")
    context = get_context("spawn")
    killed = context.Process(target=__import__("time").sleep, args=(60,))
    killed.start(); killed.kill(); killed.join()
    print(killed.exitcode)
"""


def test_what_multiprocessing_spawns_is_warm_and_knows_its_parent(tmp_path: Path) -> None:
    warm = family(tmp_path, python())
    assert warm[:2] == [
        f"(({n}, True, 'given', True), ({n + 2}, True, 'given', True))" for n in (2, 6)
    ]
    assert family(tmp_path, sys.executable) == [
        line.replace("'given', True", "'given', False") for line in warm
    ]
    assert warm[2] == "-9"
