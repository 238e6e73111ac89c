"""What `gpu.py` measures on a made cohort: a real run against its bare loop, and prediction."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from hilum.core.settings import validate
from hilum.datasets.phantoms.cohort import write_cohort
from hilum.datasets.phantoms.settings import PhantomSettings
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.bench import bench
from hilum.finetune.settings import FinetuneSettings
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.inference.predict_case import predict_case
from hilum.segmenter.segmenter import Segmenter


@contextmanager
def cohort(size: str) -> Iterator[CaseStore]:
    """Give a prepared store of three phantoms."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        settings = {"patients": 3, "size": size, "test_fraction": 0, "negative_share": 0}
        made = write_cohort(folder / "made", validate(PhantomSettings, settings))
        values = {"modalities": ("ct", "pet"), **({"spacing": (8, 8, 8)} if size == "tiny" else {})}
        yield prepare(made, folder / "store", validate(PrepareSettings, values))


def real_run(smoke: bool) -> dict[str, Any]:
    """Return seconds of each phase of bare steps, from loader to optimiser, and of a run."""
    with cohort("tiny" if smoke else "full") as store:
        side = 16 if smoke else 96
        values: dict[str, Any] = {
            "store": str(store.path),
            "split": {"test": 0, "validation": 0, "labels": 2},
            "encoder": {"name": "resenc", "size": "tiny" if smoke else "small"},
            "patch": (side, side, side),
            "pictures": 0,
            "evaluate_test": False,
            "trainer": {"batch_size": 2},
        }
        found = bench(validate(FinetuneSettings, values), 2 if smoke else 30)
        return {
            "seconds of a step by phase": dict(found.phases),
            "seconds of a bare step": found.bare,
            "seconds of a step of the run": found.loop,
            "with W&B offline": found.tracked,
            "peak GiB": found.memory,
        }


def prediction(smoke: bool, device: str) -> dict[str, Any]:
    """Return seconds and memory of predicting a case by windows, as `hilum predict` does."""
    with cohort("tiny" if smoke else "full") as store:
        side = 16 if smoke else 96
        values = {
            "modalities": ("ct", "pet"),
            "encoder": {"name": "resenc", "size": "tiny" if smoke else "small"},
            "fusion": {"name": "early"},
            "patch": (side, side, side),
            "spacing": store.spacing,
        }
        segmenter = Segmenter(validate(SegmenterConfig, values)).to(device).eval()
        case, times = store[store.ids[0]], []
        for _ in range(2 if smoke else 4):
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            began = time.perf_counter()
            predict_case(segmenter, case)
            times.append(time.perf_counter() - began)
        peak = torch.cuda.max_memory_allocated() / 1024**3 if device == "cuda" else float("nan")
        sides = [int(n) for n in case.images.shape[1:]]
        words = {"voxels": sides, "seconds, first time": times[0], "seconds": min(times[1:])}
        return words | {"peak GiB": peak}
