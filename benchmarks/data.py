"""Loading, augmentation and preparing beside nnU-Net, MONAI and nnssl, in one process.

`python benchmarks/data.py` (part of `make bench`): about five minutes on a synthetic cohort.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
from cohort import MODALITIES, make_cohort, make_store, point_nnunet
from timing import QUICK, Action, compare, write

from hilum.core.geometry import IntTriple
from hilum.core.seeds import numpy_generator
from hilum.datasets.augmentation import spatial as augmentation_spatial
from hilum.datasets.augmentation.paired import AugmentationSettings, PairedAugmentation
from hilum.datasets.loading.loader import PatchLoader
from hilum.datasets.loading.patches import PatchDataset
from hilum.datasets.loading.settings import PatchSettings
from hilum.datasets.store.case_store import CaseStore

torch.set_num_threads(1)
BATCHES = 6
"""Of two patches, per round and way."""


def nnunet_like() -> AugmentationSettings:
    """Return our settings with the kinds, probabilities and ranges of nnU-Net's default."""
    return AugmentationSettings.none(
        rotation={"p": 0.2, "low": -30, "high": 30},
        scale={"p": 0.2, "low": 0.7, "high": 1.4},
        mirror=(0.5, 0.5, 0.5),
        noise={"p": 0.1, "low": 0, "high": 0.1},
        blur={"p": 0.1, "low": 2.4, "high": 4.7},
        brightness={"p": 0.15},
        contrast={"p": 0.15},
        gamma={"p": 0.37, "low": 0.7, "high": 1.5},
        low_resolution={"p": 0.125, "low": 0.5, "high": 1},
        reach=1.6,
    )


def ours(store: CaseStore, patch: IntTriple, settings: AugmentationSettings) -> PatchDataset:
    """Return our dataset as a run without a GPU makes it."""
    augmentation = PairedAugmentation(MODALITIES, patch, store.spacing, settings)
    return PatchDataset(
        store,
        store.ids,
        PatchSettings(patch, tuple(MODALITIES), 0.33),
        10**6,
        0,
        augmentation=augmentation,
    )


def batches(dataset: PatchDataset) -> Action:
    """Return making the batches of a round in this process."""

    def run(number: int) -> None:
        first = number * 2 * BATCHES
        for _ in PatchLoader(dataset, 2, range(first, first + 2 * BATCHES)):
            pass

    return run


def loaders(folder: Path, store: CaseStore, patch: IntTriple, peers: tuple) -> list[dict]:
    """Compare whole loaders, and reading alone."""
    from peers import monai_loader, nnssl_chain, nnunet_loader

    def several(make: object) -> Action:
        return lambda number: [make() for _ in range(BATCHES)]  # pyright: ignore

    side = f"2 x {patch[0]}^3"
    np.random.seed(0)
    base, manager, about = peers
    like = ours(store, patch, nnunet_like())
    plain = batches(like)

    def without_numba(number: int) -> None:
        kept, augmentation_spatial.compiled = augmentation_spatial.compiled, lambda: None
        try:
            plain(number)
        finally:
            augmentation_spatial.compiled = kept

    cached = monai_loader(store, patch, None)
    persistent = monai_loader(store, patch, folder / f"monai{patch[0]}")
    rows = [
        compare(
            f"loader with nnU-Net's augmentation, {side}",
            {
                "hilum": plain,
                "hilum, without numba": without_numba,
                "nnU-Net": several(nnunet_loader(base, manager, about, patch)),
                "MONAI, CacheDataset": several(cached),
                "MONAI, PersistentDataset": several(persistent),
            },
            items=2 * BATCHES,
        ),
        compare(
            f"loader without augmentation, {side}",
            {
                "hilum": batches(ours(store, patch, AugmentationSettings.none())),
                "nnU-Net": several(nnunet_loader(base, manager, about, patch, augment=False)),
            },
            items=2 * BATCHES,
        ),
    ]
    spatial = AugmentationSettings.spatial(scale={"p": 0.2, "low": 0.7, "high": 1.4}, reach=1.6)
    chain, box = nnssl_chain(patch), [round(1.6 * n) for n in patch]
    array = numpy_generator(0, "bench").normal(size=(1, 2, *box)).astype(np.float32)
    rows.append(
        compare(
            f"rotation, scale and mirror for pretraining, {side}",
            {
                "hilum, read and linear": batches(ours(store, patch, spatial)),
                "nnssl, cubic, no read": lambda number: [
                    chain(array)
                    for _ in range(2 * BATCHES)  # pyright: ignore
                ],
            },
            items=2 * BATCHES,
        )
    )
    rows.append(reading(store, patch))
    return rows


def reading(store: CaseStore, patch: IntTriple) -> dict:
    """Compare reading a warm patch with copying the same box, and as many bytes in a row."""
    case = store[store.ids[0]]
    start = [s // 8 for s in case.grid.shape]
    warm = case.read(start, patch, MODALITIES)
    box = tuple(slice(a, a + n) for a, n in zip(start, patch, strict=True))
    whole = [np.array(case.images), np.array(case.regions), np.array(case.label)]
    arrays = [warm.image, warm.regions, warm.label]
    return compare(
        f"read a warm patch, 2 x {patch[0]}^3 with regions and label",
        {
            "hilum": lambda number: [case.read(start, patch, MODALITIES) for _ in range(20)],
            "the same box from memory": lambda number: [
                [np.array(a[(..., *box)]) for a in whole] for _ in range(20)
            ],
            "bytes in a row": lambda number: [
                [a.copy() for a in arrays if a is not None] for _ in range(20)
            ],
        },
        items=20,
    )


def scaling(store: CaseStore, patch: IntTriple) -> dict:
    """Measure patches per second of wall time with one and with two threads."""
    dataset, found = ours(store, patch, nnunet_like()), {}
    for workers in (1, 2):
        loader = PatchLoader(dataset, 2, range(200), workers=workers)
        rates = []
        for _ in range(3):
            began = time.perf_counter()
            count = sum(2 for _ in loader)
            rates.append(count / (time.perf_counter() - began))
        found[f"{workers} threads"] = [round(min(rates), 1), round(max(rates), 1)]
    return {"what": f"patches per second, 2 x {patch[0]}^3", "range": found}


def main(names: Sequence[str]) -> None:
    """Run the comparisons named, or all."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        manifest = make_cohort(folder)
        point_nnunet(folder)
        from peers import nnunet_prepared

        rows: list[dict] = []
        store = make_store(manifest, folder / "store")
        if not names or "loaders" in names:
            peers = nnunet_prepared(folder)
            for side in (96,) if QUICK else (96, 128):
                rows += loaders(folder, store, (side, side, side), peers)
            rows.append(scaling(store, (96, 96, 96)))
        print(f"wrote {write('data', 'make bench', rows)}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
