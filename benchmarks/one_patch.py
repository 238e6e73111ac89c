"""Measure a float32 step of one patch, as hilum takes it and as torch does, beside one of two.

`python benchmarks/one_patch.py` writes `results/one_patch.json` in a minute. With a batch of one
and channels x depth x height of at most 20,480, torch leaves oneDNN for a convolution of its own
(`aten::slow_conv3d_forward` in a profile); hilum hands it two halves
(`hilum/core/conv3d_cpu_workaround.py`). Times are per patch.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from contextlib import nullcontext

import torch
from growth import network
from timing import row_of, write
from torch import nn

from hilum.core.conv3d_cpu_workaround import halved_small_maps

torch.set_num_threads(1)


def step(side: int, batch: int) -> float:
    """Return CPU seconds per patch of the forward and backward pass."""
    segmenter = NETWORKS[side]
    image = torch.randn(batch, 2, side, side, side)
    began = time.process_time()
    logits = segmenter(image, torch.ones((batch, 2), dtype=torch.bool))
    torch.autograd.backward(logits, [torch.ones_like(x) for x in logits])
    return (time.process_time() - began) / batch


LAYERS = ((16, 32), (32, 16), (64, 8), (128, 4))
"""Channels and side of the maps of a small network, from the finest to the coarsest."""

NETWORKS = {side: network(2, side, "early") for side in (32, 64)}


def layers() -> list[dict[str, object]]:
    """Compare the forward and backward pass of single convolutions, in turn."""
    rows = []
    for channels, side in LAYERS:
        conv = nn.Conv3d(channels, channels, 3, padding=1)
        image = torch.randn(1, channels, side, side, side, requires_grad=True)
        found: dict[str, list[float]] = {"halved": [], "as torch does": []}
        for number in range(8):
            for name, times in found.items():
                with halved_small_maps(conv) if name == "halved" else nullcontext():
                    began = time.process_time()
                    conv(image).sum().backward()
                    took = time.process_time() - began
                if number:
                    times.append(took)
        rows.append(row_of(f"a float32 convolution of one patch, {channels} x {side}^3", found))
    return rows


def main() -> None:
    """Compare, and write one file."""
    rows = layers()
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
