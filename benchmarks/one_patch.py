"""Measure a float32 step of one patch, as hilum takes it and as torch does, beside one of two.

`python benchmarks/one_patch.py` writes `results/one_patch.json` in a minute. With a batch of one
and channels x depth x height of at most 20,480, torch leaves oneDNN for a convolution of its own
(`aten::slow_conv3d_forward` in a profile); hilum hands it two halves (`core/small_maps.py`). Times
are per patch.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from contextlib import nullcontext

import torch
from growth import network
from timing import row_of, write

from hilum.core.small_maps import halved_small_maps

torch.set_num_threads(1)


def step(side: int, batch: int) -> float:
    """Return CPU seconds per patch of the forward and backward pass."""
    segmenter = NETWORKS[side]
    image = torch.randn(batch, 2, side, side, side)
    began = time.process_time()
    logits = segmenter(image, torch.ones((batch, 2), dtype=torch.bool))
    torch.autograd.backward(logits, [torch.ones_like(x) for x in logits])
    return (time.process_time() - began) / batch


NETWORKS = {side: network(2, side, "early") for side in (32, 64)}


def main() -> None:
    """Compare, and write one file."""
    rows = []
    for side in NETWORKS:
        ways = (("one patch, halved", 1), ("one patch, as torch does", 1), ("two patches", 2))
        found: dict[str, list[float]] = {name: [] for name, _ in ways}
        for number in range(6):
            for name, batch in ways:
                halved = halved_small_maps(NETWORKS[side]) if "halved" in name else nullcontext()
                with halved:
                    took = step(side, batch)
                if number:
                    found[name].append(took)
        rows.append(row_of(f"a float32 step of {side}^3, tiny resenc, per patch", found))
    print(write("one_patch", "python benchmarks/one_patch.py", rows))


if __name__ == "__main__":
    main()
