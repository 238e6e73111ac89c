"""Measure `hilum embed` against prediction: the same network, the same cases, CPU seconds.

    python benchmarks/embedding.py WORK

Makes two phantoms in `WORK`, prepares them at 3 mm, and writes `results/embedding.json`. Embedding
sees each place of the body once, so what is equal to it is a prediction without overlap, by the
same windows; the default prediction, whose windows overlap, is another row. Ratios are times of the
prediction over those of the embedding: 1 is the speed of inference, above 1 is faster.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from timing import QUICK, compare, write

import hilum
from hilum.annotate.embedding.embed import embeddings_of
from hilum.annotate.embedding.settings import EmbedSettings
from hilum.core.settings import validate
from hilum.datasets.phantoms.cohort import PhantomSettings
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.inference.predict_case import predict_mask
from hilum.segmenter.segmenter import Segmenter

PATIENTS, SPACING, WINDOW = 2, (3.0, 3.0, 3.0), (48, 48, 48)
FUSIONS = ("early", "late")


def made_store(work: Path) -> CaseStore:
    """Return phantoms, made and prepared once."""
    if not (work / "store").is_dir():
        phantoms = validate(PhantomSettings, {"patients": PATIENTS, "size": "demo", "seed": 5})
        hilum.phantom(work / "cohort", phantoms)
        settings = validate(PrepareSettings, {"spacing": SPACING, "modalities": ("ct", "pet")})
        prepare(work / "cohort" / "manifest.csv", work / "store", settings)
    return CaseStore(work / "store")


def made_segmenter(fusion: str) -> Segmenter:
    """Return a network with new weights."""
    config = {
        "modalities": ("ct", "pet"),
        "encoder": {"name": "resenc", "size": "tiny"},
        "fusion": {"name": fusion},
        "patch": WINDOW,
        "spacing": SPACING,
    }
    torch.manual_seed(0)
    return Segmenter(validate(SegmenterConfig, config)).eval()


def main(work: Path) -> None:
    """Compare, and write what was found."""
    store = made_store(work)
    settings = validate(EmbedSettings, {"nodes": False})
    rows: list[dict[str, object]] = []
    for fusion in FUSIONS:
        segmenter = made_segmenter(fusion)
        folder = segmenter.save(work / fusion) if not (work / fusion).is_dir() else work / fusion
        once = segmenter.config.inference.changed(overlap=0.0, window=WINDOW)
        usual = segmenter.config.inference.changed(window=WINDOW)
        ways = {
            "hilum embed": lambda _, folder=folder: embeddings_of(
                folder, store, settings, say=lambda line: None
            ),
            "prediction without overlap": lambda _, model=segmenter, how=once: [
                predict_mask(model, store[name], how) for name in store.ids
            ],
            "prediction": lambda _, model=segmenter, how=usual: [
                predict_mask(model, store[name], how) for name in store.ids
            ],
        }
        row = compare(f"embedding, {fusion} fusion", ways, rounds=3, items=len(store.ids))
        voxels = sum(int(np.prod(store[name].grid.shape)) for name in store.ids) / len(store.ids)
        rows.append(row | {"voxels_per_case": round(voxels)})
    if not QUICK:
        print(write("embedding", "python benchmarks/embedding.py WORK", rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
