"""Time two or more ways of doing the same work in turn, and keep ratios with their spread."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

Action = Callable[[int], object]
RESULTS = Path(__file__).parent / "results"


def compare(
    what: str, ways: Mapping[str, Action], *, rounds: int = 7, items: int = 1
) -> dict[str, object]:
    """Run every way once per round, alternating which goes first, after one round to warm up.

    Times are CPU seconds of the whole process, so that other work on the machine counts less.

    Args:
        what: Title of the row.
        ways: Actions by name, ours first; each gets the number of the round.
        rounds: How often each runs.
        items: How many items (patches, cases) one action makes; times are per item.

    Returns:
        Milliseconds per item (least, median, most) of each way, and how many times ours each
        other way costs (median and range over the rounds).
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        names = list(ways) if number % 2 else list(ways)[::-1]
        for name in names:
            began = time.process_time()
            ways[name](number)
            if number:
                times[name].append((time.process_time() - began) / items)
    ours = next(iter(ways))
    ratios = {
        name: spread([b / max(a, 1e-9) for a, b in zip(times[ours], values, strict=True)])
        for name, values in times.items()
        if name != ours
    }
    for name, (low, middle, high) in ratios.items():
        print(f"{what}: {name} / {ours} = {middle:.2f} [{low:.2f}, {high:.2f}]", file=sys.stderr)
    milliseconds = {name: spread([1000 * t for t in values]) for name, values in times.items()}
    return {"what": what, "ms": milliseconds, "times_ours": ratios}


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the least, the median and the most, to three digits."""
    low, middle, high = (float(f"{f(values):.3g}") for f in (min, statistics.median, max))
    return low, middle, high


def write(name: str, command: str, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write rows with what they were measured on to `results/<name>.json`."""
    packages = ("hilum", "torch", "numpy", "scipy", "numba", "monai", "nnunetv2", "blosc2")
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    about = {
        "command": command,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread",
        "versions": versions,
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    file.write_text(json.dumps(about, indent=1) + "\n")
    return file
