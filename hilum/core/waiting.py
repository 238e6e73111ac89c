"""How long OpenMP's threads spin while they wait for one another, chosen before torch is loaded."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

SPIN = "GOMP_SPINCOUNT"
OURS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS", "KMP_BLOCKTIME")
"""Variables by which a user decides."""
QUIET, BUSY = 10_000, 1_000
"""Turns of a waiting thread before it sleeps; OpenMP's own default is endless, for it has cores.

Beside other work a thread that spins takes a core from the one that it waits for: the same steps
took 2 to 8 times as long as with these (`benchmarks/busy.py`).
"""
SHARE = 0.5
"""Load per core from which a machine is busy."""

_chosen = ""


def bound_waiting(environment: MutableMapping[str, str] | None = None) -> None:
    """Bound the spinning of this process and of those that it starts, unless the user decided.

    Has an effect only before OpenMP is loaded, which torch does.
    """
    global _chosen
    variables = os.environ if environment is None else environment
    if any(name in variables for name in OURS):
        return
    load, cores = _load(), os.cpu_count() or 1
    turns = BUSY if load > SHARE * cores else QUIET
    variables[SPIN] = str(turns)
    _chosen = (
        f"waiting threads spin {turns:,} times: the load was {load:.1f} on {cores} cores; "
        f"{SPIN} overrides"
    )


def waiting_line() -> str:
    """Return what was chosen as a line for the start of a run; empty if nothing was."""
    return _chosen


def _load() -> float:
    """Return how many threads want a core, on average over the last minute."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has none
        return 0.0
