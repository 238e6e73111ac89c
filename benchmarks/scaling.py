"""Say what pretraining on many scans takes, from what was measured and stated assumptions.

`python benchmarks/scaling.py` counts the operations of a step and writes `results/scaling.json`;
`python benchmarks/tables.py` makes the tables of docs/scaling.md from it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from targets import row_of

SIDE = 96
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "residual encoder, base": ("masked_autoencoder", {"name": "resenc", "size": "base"}),
    "ViT-B on visible tokens": ("multimodal_tokens", {"name": "vit", "size": "base"}),
}
PEAK = 989e12
"""bfloat16 operations per second of an H100 SXM without sparsity, by its data sheet."""
SHARES = (0.10, 0.25)
"""Of the peak: what published peers reach (9 to 15 % of an A100), and the goal."""
VOXELS = 333 * 200 * 200
"""Of a case: 1000 x 400 x 400 mm of body at 3 x 2 x 2 mm."""
BYTES = 2 * 2 + 1 + 1
"""Of a voxel: two modalities in float16, regions, label."""
PACKED = 12.6 / 30
"""Share of the bytes with blosc2 (LZ4 over float16): synthetic CT/PET, see docs/performance.md."""
LOOKS = 50
"""Patches drawn from each scan in a run; nnssl's recipe, 2 million from 39,000 scans, has 51."""
READ = 1.3
"""Sides of the box that is read over those of the patch, on average, cubed below."""
LINK = 25e9
"""Bytes per second that gradients travel with between machines (200 Gb/s)."""
BATCHES = {"residual encoder, base": 8, "ViT-B on visible tokens": 64}
"""Patches per GPU and step."""


def count() -> list[dict[str, object]]:
    """Count operations of a forward pass and parameters, on tensors without content."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from hilum.core.registry import build
    from hilum.core.seeds import torch_generator
    from hilum.encoders import ENCODERS
    from hilum.pretrain import TASKS
    from hilum.pretrain.base import PretextBatch

    rows: list[dict[str, object]] = []
    for name, (task, encoder) in NETWORKS.items():
        made = build(
            TASKS,
            {"name": task},
            encoder=build(ENCODERS, encoder, in_channels=2),
            modalities=("ct", "pet"),
        )
        sides = (SIDE, SIDE, SIDE)
        view = PretextBatch(
            torch.randn(1, 2, *sides),
            torch.ones((1, 2), dtype=torch.bool),
            torch.ones((1, 1, *sides), dtype=torch.bool),
            torch_generator(0, "scaling"),
            None,
            None,
            cases=("a",),
        )
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            made.loss(view)
        rows.append(
            {
                "what": name,
                "task": task,
                "tflop_forward": round(counter.get_total_flops() / 1e12, 4),
                "parameters": sum(p.numel() for p in made.parameters()),
            }
        )
    return rows


def storage(folder: Path) -> str:
    """Return bytes and patches by the number of scans."""
    lines = [
        "| scans | store, float16 | with blosc2 | patches of a run |",
        "| --- | --- | --- | --- |",
    ]
    for scans in (10**3, 10**4, 10**5, 10**6):
        plain = scans * VOXELS * BYTES / 1e12
        lines.append(
            f"| {scans:,} | {plain:.3g} TB | {plain * PACKED:.3g} TB | {scans * LOOKS:,} |"
        )
    return "\n".join(lines)


def hours(folder: Path) -> str:
    """Return GPU hours, and what a GPU asks of its loader."""
    made = json.loads((folder / "scaling.json").read_text())["rows"]
    loader = row_of("data", "loader with nnU-Net's augmentation, 2 x 96^3", folder)
    each = loader["ms"]["hilum"][1] / 1000 if loader else float("nan")
    lines = [
        "| network | fraction of peak | GPU hours for 10^3, 10^4, 10^5, 10^6 scans "
        "| patches/s a GPU | cores a GPU | read, GB/s a GPU |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in made:
        for share in SHARES:
            rate = PEAK * share / (3 * row["tflop_forward"] * 1e12)
            spent = [10**k * LOOKS / rate / 3600 for k in (3, 4, 5, 6)]
            read = rate * SIDE**3 * READ**3 * BYTES / 1e9
            text = ", ".join(f"{h:,.0f}" if h >= 10 else f"{h:.2g}" for h in spent)
            lines.append(
                f"| {row['what']} | {100 * share:.0f} % | {text} | {rate:.0f} "
                f"| {rate * each:.1f} | {read:.2f} |"
            )
    return "\n".join(lines)


def efficiency(folder: Path) -> str:
    """Return the share of a step that is left when gradients travel, hidden or not."""
    made = json.loads((folder / "scaling.json").read_text())["rows"]
    lines = [
        "| network, batch of a GPU | GPUs | step, ms | gradients, ms "
        "| efficiency, nothing hidden | all hidden |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in made:
        batch = BATCHES[row["what"]]
        step = batch * 3 * row["tflop_forward"] * 1e12 / (PEAK * SHARES[1])
        for gpus in (2, 8, 64, 256):
            travel = 2 * (gpus - 1) / gpus * 4 * row["parameters"] / LINK
            plain = step / (step + travel)
            hidden = step / max(step, step / 3 + travel)
            lines.append(
                f"| {row['what']}, {batch} patches | {gpus} "
                f"| {1000 * step:.0f} | {1000 * travel:.0f} "
                f"| {100 * plain:.0f} % | {100 * hidden:.0f} % |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    from timing import write

    print(write("scaling", "python benchmarks/scaling.py", count()))
