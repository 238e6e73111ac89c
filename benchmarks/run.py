"""Run the comparisons one after the other, each in a process of its own, and write their tables.

`make bench` is quick: fewer rounds of the main comparisons, results in `results/quick`, targets and
tables printed. `make bench-full` runs all of them, writes `results/*.json`, and makes the tables
and pictures of the documentation anew.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
QUICK = ("startup", "transport", "evaluating", "resampling", "memory_use", "data", "epoch")
FULL = (*QUICK, "preparing", "prediction", "epoch_wall", "training_memory", "pretext", "fusion")
FULL += ("encoders", "growth", "scale", "processes", "one_patch", "long_scan", "scaling", "study")


def run(name: str) -> str:
    """Run one script and return a line about it; its output goes to the terminal."""
    print(f"-- {name}", file=sys.stderr, flush=True)
    began, before = time.perf_counter(), os.times()
    code = subprocess.run([sys.executable, str(HERE / f"{name}.py")]).returncode
    wall, after = time.perf_counter() - began, os.times()
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    state = "" if code == 0 else f", failed with exit code {code}"
    return f"{name}: {wall:.0f} s, {used:.0f} CPU seconds{state}"


def main() -> int:
    """Run all, tell what failed, and make the tables of what did not."""
    quick = bool(os.environ.get("HILUM_BENCH_QUICK"))
    lines = [run(name) for name in (QUICK if quick else FULL)]
    print("\n".join(lines), file=sys.stderr)
    tables = [sys.executable, str(HERE / "tables.py"), *(["--quick"] if quick else [])]
    failed = subprocess.run(tables).returncode or any("failed" in line for line in lines)
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
