"""Measure what it costs to hand a batch from a loader to the step, beside torch's DataLoader.

`python benchmarks/transport.py` writes `results/transport.json` in a minute. Every sample is there
already, so what is left is transport: stacking, waiting, and copies between processes. Times are
CPU seconds per patch of the process and of its workers; two workers each.
"""

from __future__ import annotations

import os
import sys
from typing import Any, cast

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from timing import Action, Took, compare, write
from torch.utils.data import DataLoader, Dataset

from hilum.datasets.batch import Sample, collate
from hilum.datasets.loading.loader import PatchLoader

torch.set_num_threads(1)
SIDE, PATCHES, WORKERS = 96, 120, 2


class Ready(Dataset[Sample]):
    """Samples of two modalities and a label that cost nothing to make, as if augmented."""

    def __init__(self) -> None:
        sides = (SIDE, SIDE, SIDE)
        self.sample: Sample = {
            "image": torch.zeros((2, *sides)),
            "available": torch.ones(2, dtype=torch.bool),
            "regions": torch.zeros((1, *sides), dtype=torch.uint8),
            "label": torch.zeros((1, *sides), dtype=torch.uint8),
            "case": "case",
            "seed": 0,
            "augmented": True,
            "shift": torch.zeros((2, 3)),
        }

    def __len__(self) -> int:
        return PATCHES

    def __getitem__(self, index: int) -> Sample:
        return self.sample


def drain(make: Any) -> Action:
    """Return taking every batch of a new loader, timed in CPU seconds with its workers."""

    def run(number: int) -> Took:
        before = os.times()
        for batch in make():
            batch["image"][0, 0, 0, 0, 0].item()
        after = os.times()
        fields = ("user", "system", "children_user", "children_system")
        return Took(sum(getattr(after, f) - getattr(before, f) for f in fields))

    return run


def main() -> None:
    """Compare, and write one file."""
    data = Ready()
    own = cast(Any, data)
    items = range(PATCHES)
    row = compare(
        f"transport of a patch of 2 x {SIDE}^3 with regions and label",
        {
            "hilum, 2 threads": drain(lambda: PatchLoader(own, 2, items, workers=WORKERS)),
            "hilum, in the process": drain(lambda: PatchLoader(own, 2, items)),
            "torch DataLoader, 2 workers": drain(
                lambda: DataLoader(data, 2, num_workers=WORKERS, collate_fn=collate)
            ),
        },
        rounds=5,
        items=PATCHES,
    )
    print(write("transport", "python benchmarks/transport.py", [row]), file=sys.stderr)


if __name__ == "__main__":
    main()
