"""What waiting threads cost beside other work: the same steps with each policy of waiting.

`python benchmarks/busy.py` measures a machine that does nothing else, and then one on which as
many processes as there are cores only compute; `quiet` or `busy` as an argument measures one of
them, and leaves the other's rows as they are. Each row of `results/busy.json` says seconds by the
clock, those of the processor, and how many cores other programs took meanwhile, this script and
what it started left out: a quiet row is one during which that number is near 0. Rounds take turns,
so that what else the machine does falls on all policies alike. Ten minutes on two free cores,
two and a half with `quiet`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from timing import spread, write

POLICIES: dict[str, dict[str, str]] = {
    "as OpenMP does: spin": {},
    "bounded spin of 10,000": {"GOMP_SPINCOUNT": "10000"},
    "bounded spin of 1,000": {"GOMP_SPINCOUNT": "1000"},
    "no spin": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS", "KMP_BLOCKTIME")
TICKS = os.sysconf("SC_CLK_TCK")
LOAD = "while True: sum(range(10 ** 6))"
STEPS = 8
"""Of training, and three windows for each; a trial has one."""
RESULT = Path(__file__).parent / "results" / "busy.json"


def main() -> None:
    """Measure every policy in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("state", nargs="?", choices=["quiet", "busy"], help="both if not given")
    parser.add_argument("--rounds", type=int, default=3, help="processes per policy")
    parser.add_argument("--others", type=int, default=os.cpu_count() or 1, help="busy processes")
    parser.add_argument(
        "--policies", nargs="+", choices=list(POLICIES), default=list(POLICIES), help="of waiting"
    )
    parser.add_argument("--smoke", action="store_true", help="print the rows; write no result")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for state in [given.state] if given.state else ["quiet", "busy"]:
        others = given.others if state == "busy" else 0
        rows += measure(state, given.rounds, others, given.policies, 1 if given.smoke else STEPS)
    if given.smoke:
        print(json.dumps(rows))
        return
    kept = json.loads(RESULT.read_text())["rows"] if RESULT.is_file() else []
    new = {row["what"] for row in rows}
    rows = [*(row for row in kept if row["what"] not in new), *rows]
    print(f"wrote {write('busy', 'python benchmarks/busy.py', rows, 'threads by policy')}")


def measure(
    state: str, rounds: int, others: int, policies: Sequence[str], count: int
) -> list[dict[str, Any]]:
    """Return a row for each policy, measured beside so many processes that compute."""
    load = [subprocess.Popen([sys.executable, "-c", LOAD]) for _ in range(others)]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in policies}
    try:
        for _ in range(rounds):
            for name in policies:
                began, used = time.perf_counter(), taken_by_others(load)
                one = measured(POLICIES[name], count)
                seconds = time.perf_counter() - began
                one["others"] = max(0.0, taken_by_others(load) - used) / seconds
                found[name].append(one)
                print(state, name, one, file=sys.stderr, flush=True)
    finally:
        for process in load:
            process.kill()
            process.wait()
    names = {"seconds": "seconds", "processor seconds": "processor"}
    names["cores taken by other programs"] = "others"
    return [
        {"what": f"{state}: {name}"}
        | {title: spread([one[key] for one in runs]) for title, key in names.items()}
        for name, runs in found.items()
    ]


def taken_by_others(load: Sequence[subprocess.Popen[bytes]]) -> float:
    """Return processor seconds of the whole machine, without this process and what it started."""
    numbers = [int(n) for n in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    idle = numbers[3] + numbers[4]  # and waiting for a disk; guests are in the first two already
    whole = (sum(numbers[:8]) - idle) / TICKS
    own = sum(os.times()[:4])  # of this process, and of children that have ended
    for process in load:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        own += (int(fields[11]) + int(fields[12])) / TICKS
    return whole - own


def measured(variables: dict[str, str], count: int) -> dict[str, float]:
    """Return what a process with these variables says of so many steps."""
    own = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--steps", str(count)],
        env={**own, **variables},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def steps(count: int) -> None:
    """Take training steps and predict windows, both small; print the time without the imports."""
    import torch

    from hilum.core.settings import validate
    from hilum.losses.dice_ce import DiceCeLoss
    from hilum.segmenter.config import SegmenterConfig
    from hilum.segmenter.segmenter import Segmenter

    side = 32
    values = {
        "modalities": ("ct", "pet"),
        "encoder": {"name": "resenc", "size": "tiny"},
        "fusion": {"name": "early"},
        "patch": (side, side, side),
        "spacing": (3, 2, 2),
    }
    segmenter, loss = Segmenter(validate(SegmenterConfig, values)), DiceCeLoss()
    optimiser = torch.optim.AdamW(segmenter.parameters())
    image, available = torch.randn(2, 2, side, side, side), torch.ones(2, 2, dtype=torch.bool)
    label = (torch.rand(2, 1, side, side, side) < 0.01).byte()
    loss(segmenter(image, available), label)[0].backward()  # kernels are made
    began, worked = time.perf_counter(), time.process_time()
    for _ in range(count):
        loss(segmenter(image, available), label)[0].backward()
        optimiser.step()
        optimiser.zero_grad()
    with torch.no_grad():
        for _ in range(3 * count):
            segmenter(image[:1], available[:1])
    seconds, processor = time.perf_counter() - began, time.process_time() - worked
    print(json.dumps({"seconds": round(seconds, 2), "processor": round(processor, 2)}))


if __name__ == "__main__":
    steps(int(sys.argv[2])) if sys.argv[1:2] == ["--steps"] else main()
