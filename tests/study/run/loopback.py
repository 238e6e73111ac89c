"""A SLURM of one node on loopback: real daemons from packages that `slurm_setup.sh` unpacks."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SETUP = Path(__file__).with_name("slurm_setup.sh")


class NoSlurmError(Exception):
    """The daemons cannot be had here; the text says why."""


class Slurm:
    """What a test asks of the cluster.

    Args:
        environment: What `slurm_setup.sh` printed.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def __call__(self, *command: str) -> str:
        """Run one of SLURM's programs and return what it says."""
        done = subprocess.run(
            command,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        if done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def jobs(self) -> dict[str, str]:
        """Return state and reason of every task in the queue, by number."""
        rows = self("squeue", "--noheader", "--array", "--format", "%i %t %r").splitlines()
        return dict(row.split(" ", 1) for row in rows)

    def drained(self, seconds: float = 400) -> None:
        """Wait until the queue is empty."""
        wait_for(lambda: not self.jobs(), seconds, lambda: str(self.jobs()))

    def clear(self) -> None:
        """End every job."""
        if jobs := self.jobs():
            self("scancel", *jobs)
            self.drained(30)


@contextlib.contextmanager
def running(folder: Path, packages: Path) -> Iterator[Slurm]:
    """Start both daemons, and end them with everything that runs in them.

    Raises:
        NoSlurmError: If the packages cannot be had, or the daemons do not come up.
    """
    setup = subprocess.run(
        ["bash", str(SETUP), str(folder), str(packages)],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    if setup.returncode:
        raise NoSlurmError(f"SLURM's packages cannot be had: {setup.stderr.strip()[-300:]}")
    given = dict(line.split("=", 1) for line in setup.stdout.splitlines())
    daemons = given.pop("CONTROLLER"), given.pop("DAEMON")
    stepper = given.pop("STEPPER")
    configuration = given["SLURM_CONF"]
    commands = [
        [daemons[0], "-D", "-f", configuration],
        [daemons[1], "-D", "-f", configuration, "-N", "localhost"]
        + (["-d", stepper] if stepper else []),
    ]
    slurm = Slurm(given)
    with contextlib.ExitStack() as stack:
        for number, command in enumerate(commands):
            log = stack.enter_context((folder / "log" / f"{number}.out").open("w"))
            process = subprocess.Popen(
                command, env=os.environ | given, stdout=log, stderr=subprocess.STDOUT
            )
            stack.callback(_end, process)
        stack.callback(slurm.clear)
        try:
            wait_for(lambda: "idle" in slurm("sinfo", "-h", "-o", "%T"), 30)
        except AssertionError as error:
            logs = "".join(path.read_text()[-400:] for path in (folder / "log").iterdir())
            raise NoSlurmError(f"SLURM does not come up: {error} {logs}") from None
        yield slurm


def wait_for(
    condition: Callable[[], bool], seconds: float, tell: Callable[[], str] = lambda: ""
) -> None:
    """Wait until a condition holds; an assertion fails with what `tell` says if it never does."""
    until = time.monotonic() + seconds
    problem = ""
    while time.monotonic() < until:
        try:
            if condition():
                return
        except AssertionError as error:  # the controller does not listen yet
            problem = str(error)
        time.sleep(0.2)
    raise AssertionError(f"waited {seconds} s in vain: {problem} {tell()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
