"""Open a store of 10,000 cases, and draw from it: time and memory beside a store of 100.

`python benchmarks/scale.py` (part of `make bench`): half a minute. The cases are hard links to one
prepared case with an index row and a `case.json` of their own, so their number is real and the
bytes of their scans are not.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

from cohort import make_cohort, make_store
from timing import spread, write

from hilum.core.files import read_json, write_json
from hilum.datasets.store.index import index_row

SIZES = (100, 1000, 10_000)
"""A store keeps 200 cases open; from then on most patches open a case first."""
DRAWS = 400


def main() -> None:
    """Measure each size in a process of its own, so that memory is its own."""
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_store(make_cohort(folder, 1), folder / "one")
        for size in SIZES:
            multiply(folder / "one", folder / str(size), size)
            command = [sys.executable, __file__, "measure", str(folder / str(size))]
            found = subprocess.run(command, check=True, capture_output=True, text=True)
            row = {"what": f"a store of {size} cases", **json.loads(found.stdout)}
            print(row, file=sys.stderr)
            rows.append(row)
            shutil.rmtree(folder / str(size))
    print(f"wrote {write('scale', 'make bench', rows)}", file=sys.stderr)


def multiply(one: Path, many: Path, size: int) -> None:
    """Write a store of `size` cases that share the arrays of one."""
    about = read_json(one / "store.json")
    (name,) = [row["id"] for row in about["cases"]]
    case, rows = read_json(one / name / "case.json"), []
    for number in range(size):
        folder = many / f"case_{number:05d}"
        folder.mkdir(parents=True)
        for file in (one / name).iterdir():
            if file.suffix in (".npy", ".npz"):
                os.link(file, folder / file.name)
        own = {**case, "id": folder.name, "patient": f"patient_{number // 2:05d}"}
        (folder / "case.json").write_text(json.dumps(own))
        rows.append(index_row(own))
    write_json(many / "store.json", {**about, "cases": rows})


def measure(path: Path) -> None:
    """Open a store, split it and draw patches from all over it; print the costs as JSON."""
    from hilum.datasets.loading.patches import PatchDataset
    from hilum.datasets.loading.settings import PatchSettings
    from hilum.datasets.splits import SplitSettings, make_split
    from hilum.datasets.store.case_store import CaseStore

    before = memory()
    began = time.perf_counter()
    store = CaseStore(path)
    opened = time.perf_counter()
    split = make_split(store, SplitSettings.model_validate({}))
    patches = PatchDataset(store, split.pool, PatchSettings((96, 96, 96)), 10**6, 0)
    ready = time.perf_counter()
    draws = []
    for index in range(DRAWS):
        start = time.perf_counter()
        patches[index]
        draws.append(1000 * (time.perf_counter() - start))
    print(
        json.dumps(
            {
                "seconds to open": round(opened - began, 3),
                "seconds to split and index": round(ready - opened, 3),
                "ms per patch": spread(draws),
                "MB for it all": round(memory() - before, 1),
            }
        )
    )


def memory() -> float:
    """Return the MB that are this process's own; pages of mapped files belong to the system."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


if __name__ == "__main__":
    measure(Path(sys.argv[2])) if sys.argv[1:2] == ["measure"] else main()
