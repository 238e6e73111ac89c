"""Measure how costs grow with the patch, the number of modalities, and the number of threads.

`python benchmarks/growth.py` writes `results/growth.json` in five minutes. Growth with the number
of cases is in `scale.py`. Times are CPU seconds of one thread, except for threads of the loader,
whose patches per second are wall time and depend on what else the machine does.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from cohort import make_cohort, make_store
from epoch import bare, settings
from timing import QUICK, spread, write

from hilum.core.conv3d_cpu_workaround import halved_small_maps
from hilum.core.geometry import IntTriple
from hilum.core.settings import validate
from hilum.datasets.augmentation.paired import AugmentationSettings, PairedAugmentation
from hilum.datasets.loading.loader import PatchLoader
from hilum.datasets.loading.patches import PatchDataset
from hilum.datasets.loading.settings import PatchSettings
from hilum.datasets.store.case_store import CaseStore
from hilum.fusion.cost import cost
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

torch.set_num_threads(1)
SIDES = (32, 48, 64, 96)
NAMES = ("ct", "pet", "mr_t1", "mr_t2")
ROUNDS = 2 if QUICK else 5


def patches(store: CaseStore, side: int) -> PatchDataset:
    """Return the default augmentation's patches."""
    patch: IntTriple = (side, side, side)
    augmentation = PairedAugmentation(
        store.modalities, patch, store.spacing, AugmentationSettings.model_validate({})
    )
    return PatchDataset(store, store.ids, PatchSettings(patch), 10**6, 0, augmentation=augmentation)


def network(modalities: int, side: int, fusion: str) -> Segmenter:
    """Return a tiny residual segmenter."""
    config = {
        "modalities": NAMES[:modalities],
        "encoder": {"name": "resenc", "size": "tiny"},
        "fusion": {"name": fusion},
        "patch": (side, side, side),
        "spacing": (3, 2, 2),
    }
    return Segmenter(validate(SegmenterConfig, config))


def step(segmenter: Segmenter, modalities: int, side: int) -> None:
    """Take the forward and backward pass of one patch, as a run does."""
    image = torch.randn(1, modalities, side, side, side)
    with halved_small_maps(segmenter):
        logits = segmenter(image, torch.ones((1, modalities), dtype=torch.bool))
        torch.autograd.backward(logits, [torch.ones_like(x) for x in logits])


def timed(action: object, rounds: int = ROUNDS) -> tuple[float, float, float]:
    """Return milliseconds of CPU time (least, median, most) after a first call."""
    found = []
    for number in range(rounds + 1):
        began = time.process_time()
        action()  # pyright: ignore[reportCallIssue]
        if number:
            found.append(1000 * (time.process_time() - began))
    return spread(found)


def loading(store: CaseStore) -> list[dict[str, object]]:
    """Measure patches from the store, by their sides and by threads."""
    rows: list[dict[str, object]] = []
    for side in SIDES:
        data, place = patches(store, side), iter(range(10**6))
        eight = timed(lambda d=data, p=place: [d[next(p)] for _ in range(8)])
        each = tuple(round(t / 8, 3) for t in eight)
        rows.append({"what": "load and augment a patch", "side": side, "ms": each})
    data = patches(store, 64)
    for workers in (1, 2, 4):
        rates = []
        for number in range(ROUNDS):
            items = range(number * 64, number * 64 + 64)
            began = time.perf_counter()
            for _ in PatchLoader(data, 2, items, workers=workers):
                pass
            rates.append(64 / (time.perf_counter() - began))
        rows.append({"what": "threads of the loader", "threads": workers, "rate": spread(rates)})
    return rows


def waiting(store: CaseStore) -> list[dict[str, object]]:
    """Measure how long a step of 100 ms, here spent asleep, waits for two patches of 96^3.

    The first steps do not count: a loader that has just started has nothing in store.
    """
    rows: list[dict[str, object]] = []
    data = patches(store, 96)
    for workers in (4, 2, 1):
        batches = iter(PatchLoader(data, 2, range(100), workers=workers))
        for _ in range(10):
            next(batches)
            time.sleep(0.1)
        waited = 0.0
        began = time.perf_counter()
        for _ in range(30):
            asked = time.perf_counter()
            next(batches)
            waited += time.perf_counter() - asked
            time.sleep(0.1)
        share = waited / (time.perf_counter() - began)
        rows.append({"what": "wait at a step of 100 ms", "threads": workers, "share": share})
    return rows


def phases(store: CaseStore) -> dict[str, object]:
    """Say where the time of a fine-tuning step goes."""
    run = settings(store, "auto")
    parts = {name: round(1000 * seconds, 2) for name, seconds in bare(run).items()}
    return {"what": "phases of a step, tiny resenc, 2 x 2 x 64^3", "ms": parts}


def training() -> list[dict[str, object]]:
    """Measure a step by the sides of its patch, and by the number of modalities."""
    rows: list[dict[str, object]] = []
    for side in SIDES:
        segmenter = network(2, side, "early")
        took = timed(lambda s=segmenter, n=side: step(s, 2, n), 2)
        found = cost(segmenter.strategy, (side, side, side))
        rows.append(
            {
                "what": "a step, early fusion",
                "side": side,
                "ms": took,
                "gflop": round(found.flops / 1e9, 2),
                "peak_mib": round(found.memory / 2**20, 1),
            }
        )
    for fusion in ("early", "mean", "cross_attention"):
        for count in range(2, len(NAMES) + 1):
            segmenter = network(count, 32, fusion)
            took = timed(lambda s=segmenter, n=count: step(s, n, 32))
            memory = cost(segmenter.strategy, (32, 32, 32)).memory
            rows.append(
                {
                    "what": f"a step, {fusion}, 32^3",
                    "modalities": count,
                    "ms": took,
                    "peak_mib": round(memory / 2**20, 1),
                }
            )
    return rows


def main() -> None:
    """Run every measurement and write one file."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = make_store(make_cohort(folder, 2), folder / "store")
        rows = [*loading(store), *waiting(store), phases(store), *training()]
        for row in rows:
            print(row, file=sys.stderr)
        print(write("growth", "python benchmarks/growth.py", rows), file=sys.stderr)


if __name__ == "__main__":
    main()
