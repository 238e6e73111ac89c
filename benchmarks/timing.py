"""Time two or more ways of doing the same work in turn, and keep ratios with their spread."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

Action = Callable[[int], object]
QUICK = bool(os.environ.get("HILUM_BENCH_QUICK"))
"""Whether `make bench` runs: fewer rounds, and results beside the committed ones."""
RESULTS = Path(__file__).parent / "results" / ("quick" if QUICK else "")
PACKAGES = ("hilum", "torch", "numpy", "scipy", "numba", "monai", "nnunetv2", "blosc2")


class Took(float):
    """Seconds that an action has measured itself, because part of it should not count."""


def compare(
    what: str, ways: Mapping[str, Action], *, rounds: int = 7, items: int = 1
) -> dict[str, object]:
    """Run every way once per round, alternating which goes first, after one round to warm up.

    Times are CPU seconds of the whole process, so that other work on the machine counts less.

    Args:
        what: Title of the row.
        ways: Actions by name, ours first; each gets the number of the round. One that returns
            `Took` says itself how long it was.
        rounds: How often each runs; a third of it if quick.
        items: How many items (patches, cases) one action makes; times are per item.

    Returns:
        Milliseconds per item (least, median, most) of each way, and how many times ours each
        other way costs (median and range over the rounds).
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range((max(2, rounds // 3) if QUICK else rounds) + 1):
        names = list(ways) if number % 2 else list(ways)[::-1]
        for name in names:
            began = time.process_time()
            found = ways[name](number)
            took = found if isinstance(found, Took) else time.process_time() - began
            if number:
                times[name].append(took / items)
    return row_of(what, times)


def in_processes(
    script: str, ways: Sequence[str], folder: str, *, rounds: int
) -> dict[str, list[list[float]]]:
    """Run every way in a process of its own per round, the order alternating.

    Args:
        script: File that takes `--train WAY FOLDER`, and ends with a line of numbers, as JSON.
        ways: Names of the ways.
        folder: What every way reads.
        rounds: How often each runs.

    Returns:
        The numbers of each round, by the way.
    """
    found: dict[str, list[list[float]]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in ways if number % 2 == 0 else ways[::-1]:
            command = [sys.executable, script, "--train", way, folder]
            ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found[way].append(json.loads(ran.stdout.splitlines()[-1]))
    return found


def row_of(what: str, times: Mapping[str, Sequence[float]]) -> dict[str, object]:
    """Return a row of seconds per item, one per round, of each way, ours first."""
    ours = next(iter(times))
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


def machine(threads: str = "one thread") -> str:
    """Describe the machine: processor, cores, memory, GPU, and the threads that were used."""
    name, gib = platform.machine(), 0.0
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        name = named[0] if named else name
    if hasattr(os, "sysconf"):
        gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpu = "no GPU"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        gpu = torch.cuda.get_device_name()
    return f"{name}, {os.cpu_count()} cores, {gib:.0f} GiB, {gpu}, {threads}"


def write(
    name: str, command: str, rows: Sequence[Mapping[str, object]], threads: str = "one thread"
) -> Path:
    """Write rows with what they were measured on to `results/<name>.json`."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    about = {
        "command": command,
        "machine": machine(threads),
        "versions": versions,
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True, parents=True)
    file = RESULTS / f"{name}.json"
    file.write_text(json.dumps(about, indent=1) + "\n")
    return file
