"""Measure hilum beside its peers in one process, alternating, and write the ratios.

`make bench` runs it: under two minutes, on synthetic volumes. Figures are CPU seconds of one
thread, the median of several rounds with the least and the most; trust the ratios.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from scipy import ndimage

from hilum.core.geometry import Grid
from hilum.core.seeds import numpy_generator
from hilum.datasets.augmentation import AugmentationSettings, PairedAugmentation
from hilum.datasets.batch import collate
from hilum.datasets.nifti import write_volume
from hilum.datasets.patches import PatchDataset
from hilum.datasets.prepare import PrepareSettings, prepare
from hilum.datasets.resampling import resample
from hilum.datasets.store import CaseStore, StoredCase

torch.set_num_threads(1)
ROUNDS = 7
PATCH = (96, 96, 96)
RESULTS = Path(__file__).parent / "results"
Action = Callable[[int], object]


def main() -> None:
    """Run every comparison and write one JSON file."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder))
        case = store[store.ids[0]]
        start = [s // 4 for s in case.grid.shape]
        warm = np.array(case.images[:, :96, :96, :96])
        rows.append(
            compare(
                "read a 2 x 96^3 patch",
                ("hilum, memory map", lambda i: case.read(start, PATCH, ("ct", "pet"))),
                ("numpy, copy in memory", lambda i: (warm.copy(), warm[0].copy())),
            )
        )
        rows.append(
            compare("patch with augmentation", ("hilum", ours(store)), ("MONAI", monai_chain(case)))
        )
    array = numpy_generator(0, "bench").normal(size=(120, 160, 160)).astype(np.float32)
    grid = Grid.from_spacing((120, 160, 160), (3, 2, 2))
    target = grid.with_spacing((2, 1.5, 1.5))
    rows.append(
        compare(
            "resample 120 x 160 x 160, linear",
            ("hilum, a matrix per axis", lambda i: resample(array, grid, target)),
            (
                "scipy, zoom",
                lambda i: ndimage.zoom(
                    array, [t / s for t, s in zip(target.shape, grid.shape, strict=True)], order=1
                ),
            ),
        )
    )
    RESULTS.mkdir(exist_ok=True)
    about = {
        "command": "make bench",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread",
        "versions": {name: version(name) for name in ("hilum", "torch", "monai", "numpy", "scipy")},
        "rows": rows,
    }
    (RESULTS / "quick.json").write_text(json.dumps(about, indent=1) + "\n")


def compare(what: str, ours: tuple[str, Action], peer: tuple[str, Action]) -> dict[str, object]:
    """Time two actions in turn and return medians, spread and the ratio peer / ours."""
    times: dict[str, list[float]] = {ours[0]: [], peer[0]: []}
    for number in range(ROUNDS + 1):
        for name, action in (ours, peer):
            began = time.process_time()
            action(number)
            if number:  # the first round warms up
                times[name].append(time.process_time() - began)
    ratios = [b / max(a, 1e-9) for a, b in zip(times[ours[0]], times[peer[0]], strict=True)]
    row: dict[str, object] = {
        "what": what,
        "peer_over_ours": round(statistics.median(ratios), 2),
        "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
        "ms": {
            name: [round(1000 * f(values), 2) for f in (min, statistics.median, max)]
            for name, values in times.items()
        },
    }
    print(
        f"{what}: {peer[0]} / {ours[0]} = {row['peer_over_ours']} {row['ratio_range']}",
        file=sys.stderr,
    )
    return row


def ours(store: CaseStore) -> Action:
    """Return reading, augmenting and encoding eight patches."""
    augmentation = PairedAugmentation(
        ("ct", "pet"), PATCH, store.spacing, AugmentationSettings.model_validate({})
    )
    data = PatchDataset(
        store, store.ids, augmentation.read_shape(), 10_000, 0, ("ct", "pet"), 0.3, inner=PATCH
    )

    def run(number: int) -> object:
        return [augmentation(collate([data[8 * number + i]]), True) for i in range(8)]

    return run


def monai_chain(case: StoredCase) -> Action:
    """Return the same kinds of operations at like probabilities, from memory, for eight patches."""
    from monai import transforms as t

    keys = ["image", "label"]
    chain = t.Compose(
        [
            t.RandSpatialCropd(keys, PATCH, random_size=False),
            t.RandAffined(
                keys,
                prob=0.36,
                rotate_range=(0.52,) * 3,
                scale_range=(0.25,) * 3,
                mode=("bilinear", "nearest"),
                padding_mode="border",
            ),
            *(t.RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in range(3)),
            t.RandGaussianSmoothd("image", prob=0.2),
            t.RandGaussianNoised("image", prob=0.2, std=0.1),
            t.RandScaleIntensityd("image", factors=0.25, prob=0.5),
            t.RandAdjustContrastd("image", prob=0.3, gamma=(0.7, 1.5)),
            t.RandSimulateLowResolutiond("image", prob=0.125),
        ]
    )
    chain.set_random_state(0)
    whole = {
        "image": torch.from_numpy(np.array(case.images, np.float32)),
        "label": torch.from_numpy(np.array(case.label))[None],
    }
    return lambda number: [chain(dict(whole)) for _ in range(8)]


def make_store(folder: Path) -> CaseStore:
    """Write two synthetic cases and prepare them."""
    lines = ["case,ct,pet,label"]
    grid = Grid.from_spacing((160, 192, 192), (2, 2, 2))
    for number in range(2):
        draw = numpy_generator(number, "bench")
        soft = ndimage.zoom(draw.normal(size=(20, 24, 24)), 8, order=1)
        body = ndimage.zoom((draw.random((4, 4, 4)) < 2).astype(float), (40, 48, 48), order=0)
        label = np.zeros(grid.shape, np.uint8)
        for centre in draw.integers(40, 120, (6, 3)):
            box = tuple(slice(c - 4, c + 4) for c in centre)
            label[box] = 1
        for name, array in (("ct", 40 + 60 * soft), ("pet", np.abs(soft) * body + 4 * label)):
            write_volume(folder / f"{number}_{name}.nii", array.astype(np.float32), grid)
        write_volume(folder / f"{number}_label.nii", label, grid)
        lines.append(f"{number},{number}_ct.nii,{number}_pet.nii,{number}_label.nii")
    (folder / "manifest.csv").write_text("\n".join(lines))
    return prepare(folder / "manifest.csv", folder / "store", PrepareSettings(body_crop=False))  # pyright: ignore[reportCallIssue]


if __name__ == "__main__":
    main()
