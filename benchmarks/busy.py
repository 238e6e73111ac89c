"""What waiting threads cost beside other work: the same steps with each policy of waiting.

`python benchmarks/busy.py quiet` on a machine that does nothing else; `python benchmarks/busy.py
busy` starts as many processes as there are cores that only compute. Each writes its rows of
`results/busy.json`; a row says the load before it began. Rounds take turns, so that what else the
machine does falls on all of them alike.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

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
LOAD = "while True: sum(range(10 ** 6))"
RESULT = Path(__file__).parent / "results" / "busy.json"


def main() -> None:
    """Measure every policy in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("state", choices=["quiet", "busy"])
    parser.add_argument("--rounds", type=int, default=3, help="processes per policy")
    parser.add_argument("--others", type=int, default=os.cpu_count() or 1, help="busy processes")
    given = parser.parse_args()
    others = given.others if given.state == "busy" else 0
    load = [subprocess.Popen([sys.executable, "-c", LOAD]) for _ in range(others)]
    before = os.getloadavg()[0]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in POLICIES}
    try:
        for _ in range(given.rounds):
            for name, variables in POLICIES.items():
                found[name].append(measured(variables))
                print(given.state, name, found[name][-1], file=sys.stderr, flush=True)
    finally:
        for process in load:
            process.kill()
    rows = [
        {
            "what": f"{given.state}: {name}",
            "seconds": spread([one["seconds"] for one in runs]),
            "processor seconds": spread([one["processor"] for one in runs]),
            "load before": round(before, 1),
        }
        for name, runs in found.items()
    ]
    kept = json.loads(RESULT.read_text())["rows"] if RESULT.is_file() else []
    kept = [row for row in kept if not row["what"].startswith(f"{given.state}:")]
    print(f"wrote {write('busy', 'python benchmarks/busy.py quiet|busy', [*kept, *rows])}")


def measured(variables: dict[str, str]) -> dict[str, float]:
    """Return what a process with these variables says of its steps."""
    own = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--steps"],
        env={**own, **variables},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def steps() -> None:
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
    for _ in range(8):
        loss(segmenter(image, available), label)[0].backward()
        optimiser.step()
        optimiser.zero_grad()
    with torch.no_grad():
        for _ in range(24):
            segmenter(image[:1], available[:1])
    seconds, processor = time.perf_counter() - began, time.process_time() - worked
    print(json.dumps({"seconds": round(seconds, 2), "processor": round(processor, 2)}))


if __name__ == "__main__":
    steps() if sys.argv[1:] == ["--steps"] else main()
