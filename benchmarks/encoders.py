"""Build every preset, and run each beside the same network called bare: time and peak memory.

`python benchmarks/encoders.py [FAMILY ...]` writes `results/encoders.json`. Overhead is what the
encoder adds to its library's own network: the level at full resolution, where there is one, is
measured with it and named, since the library has none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from timing import compare, write
from torch import Tensor

from hilum.core.registry import build
from hilum.encoders import ENCODERS
from hilum.encoders.base import Encoder
from hilum.encoders.cost import measure, patch_for
from hilum.encoders.presets import families
from hilum.encoders.tokens import as_map

torch.set_num_threads(1)


def bare(name: str, encoder: Any) -> Callable[[Tensor], Any] | None:
    """Return the library's own forward pass of the network inside an encoder, if it has one."""
    inner = getattr(encoder, "inner", None)
    if name in ("resenc", "plainconv", "timm_cnn", "swin", "resnet3d", "segresnet"):
        return inner
    if name == "primus":
        return partial(primus, encoder)
    return None


def primus(encoder: Any, image: Tensor) -> list[Tensor]:
    """The library's own forward pass of its transformer, and the pyramid that hilum adds."""
    tokens = encoder.inner["down_projection"](image)
    grid = tuple(tokens.shape[2:])
    seen, _ = encoder.inner["eva"](tokens.flatten(2).transpose(1, 2))
    return encoder.pyramid(image, [as_map(seen, grid)] * len(encoder.taps))


def backward(maps: Any) -> None:
    torch.autograd.backward(list(maps), [torch.ones_like(x) for x in maps])


def overhead(what: str, name: str, encoder: Encoder) -> dict[str, object] | None:
    """Compare a step of the encoder with one of its network, or nothing if there is no such."""
    # A transformer of its own library takes the patch that its positions were made for alone.
    sides = (96, 96, 96) if name == "primus" else patch_for(encoder.strides)
    call, image = bare(name, encoder), torch.randn(2, 2, *sides)
    if call is None:
        return None
    fine = getattr(encoder, "fine", None)

    def plain(_: int) -> None:
        maps = list(call(image))
        backward([fine(image), *maps] if fine is not None else maps)

    added = ", with the full-resolution level" if fine else ""
    added = ", with the pyramid" if name == "primus" else added
    return compare(
        f"{what}, forward and backward{added}",
        {"hilum": lambda _: backward(encoder(image)), "the library's network": plain},
        rounds=9,
    )


def main(names: list[str]) -> None:
    """Measure the families that are named, or all."""
    rows: list[dict[str, object]] = []
    for name in names or families():
        # MONAI's own forward pass of Swin wants four stages, which its smallest size has not.
        size = "small" if name == "swin" else "tiny"
        encoder = build(ENCODERS, {"name": name, "size": size}, in_channels=2)
        row = overhead(f"{name} {size}", name, encoder)
        rows += [row] if row else []
        for size in families()[name].sizes:
            cost = measure({"name": name, "size": size}, repeats=2)
            rows.append({
                "what": f"{name} {size}", "build_s": round(cost.build, 3),
                "forward_s": round(cost.forward, 4), "step_s": round(cost.step, 4),
                "peak_mib": round(cost.memory / 2**20, 1),
            })  # fmt: skip
            print(rows[-1], file=sys.stderr, flush=True)
    print(write("encoders", "python benchmarks/encoders.py", rows))


if __name__ == "__main__":
    main(sys.argv[1:])
