"""Measure each fusion strategy against early fusion, and attention against MONAI's.

`python benchmarks/fusion.py [SIDE]` writes `results/fusion.json` in ten minutes. Times are CPU
seconds of one thread for a patch of 64 (or SIDE) voxels a side, in turn with early fusion in one
process. Operations and memory are counted, not measured, for a patch of 96.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from monai.networks.blocks import CrossAttentionBlock
from timing import compare, write
from torch import Tensor

from hilum.core.settings import validate
from hilum.fusion import STRATEGIES
from hilum.fusion.base import FusionStrategy
from hilum.fusion.cost import cost
from hilum.fusion.cross_attention import CrossAttention
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

torch.set_num_threads(1)
COUNTED = (96, 96, 96)
TIMED = 64


def strategy(name: str, side: int) -> FusionStrategy:
    """Return a strategy with tiny residual encoders for CT and PET."""
    own = {"modality": "ct"} if name == "single" else {}
    config = {
        "modalities": ("ct", "pet"),
        "encoder": {"name": "resenc", "size": "tiny"},
        "fusion": {"name": name, **own},
        "patch": (side, side, side),
        "spacing": (3, 2, 2),
    }
    return Segmenter(validate(SegmenterConfig, config)).strategy


def step(network: FusionStrategy, side: int) -> None:
    """Take a training step's forward and backward pass."""
    volume = torch.randn(1, 1, side, side, side)
    available = torch.ones((1, 2), dtype=torch.bool)
    logits = network({"ct": volume, "pet": volume}, available)
    torch.autograd.backward(logits, [torch.ones_like(x) for x in logits])


def strategies(side: int) -> list[dict[str, object]]:
    """Compare each strategy with early fusion, and cross-attention with the mean, too."""
    rows = []
    pairs = [(name, "early") for name in STRATEGIES if name != "early"]
    for name, other in [*pairs, ("cross_attention", "mean")]:
        one, two = strategy(name, side), strategy(other, side)
        found, double = cost(one, COUNTED), cost(one, COUNTED, 2)
        row = compare(
            f"{name} against {other}, step, {side}^3",
            {other: lambda _, n=two: step(n, side), name: lambda _, n=one: step(n, side)},
            rounds=3,
        )
        row |= {
            "strategy": name,
            "against": other,
            "parameters": found.parameters,
            "gflop": round(found.flops / 1e9, 1),
            "peak_gib": round(found.memory / 2**30, 2),
            "peak_gib_batch_2": round(double.memory / 2**30, 2),
        }
        rows.append(row)
    return rows


def attention() -> dict[str, object]:
    """Compare a block at stride 8 of a patch of 96 with MONAI's, which attends globally."""
    sides, channels = (12, 12, 12), 128
    ours = CrossAttention(channels, 4).eval()
    theirs = CrossAttentionBlock(
        channels, 4, sequence_length=12**3, use_flash_attention=True
    ).eval()
    own, other = torch.randn(1, channels, *sides), torch.randn(1, channels, *sides)
    have = torch.ones((1, 1), dtype=torch.bool)

    def tokens(x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2)

    with torch.no_grad():
        return compare(
            "cross-attention of two 128 x 12^3 maps, forward",
            {
                "hilum": lambda _: ours(own, [other], have),
                "MONAI": lambda _: theirs(tokens(own), tokens(other)),
            },
        )


def main(side: int) -> None:
    """Run every comparison and write one file."""
    rows = [attention(), *strategies(side)]
    print(write("fusion", f"python benchmarks/fusion.py {side}", rows))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else TIMED)
