"""Waiting threads spin for a bound time, shorter on a busy machine, unless the user decided."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hilum.core import waiting
from hilum.core.waiting import BUSY, OURS, QUIET, SPIN, bound_waiting, waiting_line


@pytest.mark.parametrize(("load", "turns"), [(0.1, QUIET), (0.9, QUIET), (1.1, BUSY), (9.0, BUSY)])
def test_the_load_decides(monkeypatch: pytest.MonkeyPatch, load: float, turns: int) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 7.0, 0.0))  # of 1, 5 and 15 minutes
    monkeypatch.setattr(waiting, "_chosen", "")
    variables: dict[str, str] = {}
    bound_waiting(variables)
    assert variables == {SPIN: str(turns)}
    assert waiting_line() == (
        f"waiting threads spin {turns:,} times: the load was {load:.1f} on 2 cores; "
        "GOMP_SPINCOUNT overrides"
    )


def test_a_system_without_a_load_counts_as_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_chosen", "")
    monkeypatch.delattr(os, "getloadavg", raising=False)
    variables: dict[str, str] = {}
    bound_waiting(variables)
    assert variables == {SPIN: str(QUIET)}


@pytest.mark.parametrize("name", OURS)
def test_what_the_user_decided_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(waiting, "_chosen", "")
    variables = {name: "7"}
    bound_waiting(variables)
    assert (variables, waiting_line()) == ({name: "7"}, "")


def test_the_command_line_decides_before_torch_is_there() -> None:
    code = (
        "import os, sys; from hilum.cli import app; sys.argv = ['hilum', '--version']\n"
        "try:\n    app.main()\nexcept SystemExit: pass\n"
        "print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    )
    own = {key: value for key, value in os.environ.items() if key not in OURS}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=own, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] in (f"{QUIET} False", f"{BUSY} False")
