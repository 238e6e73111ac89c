"""Where the time of a fine-tuning run goes on this machine, what limits it, and what to change."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from ..core.precision import autocast_dtype, guard_bf16_conv3d
from ..core.settings import validate
from ..core.small_maps import halved_small_maps
from ..datasets.batch import Batch
from ..datasets.datamodule import PatchData
from ..training.acceleration import accelerate
from .module import FinetuneModule
from .run import finetune, parts_of
from .settings import FinetuneSettings

PHASES = ("data", "transfer", "augmentation", "forward", "backward", "optimiser")
WARM = 2
"""Steps that prepare kernels and caches, and do not count."""


@dataclass(frozen=True)
class Bench:
    """What was measured.

    Attributes:
        phases: Seconds per step of each phase of a bare loop.
        loop: Seconds per step of the real run, with everything but W&B.
        tracked: The same with W&B offline.
        memory: GiB at the peak: of the device, or of the process without one.
        patches: Patches per step.
        device: What it ran on.
    """

    phases: Mapping[str, float]
    loop: float
    tracked: float
    memory: float
    patches: int
    device: str

    @property
    def bare(self) -> float:
        """Seconds per step of the bare loop."""
        return sum(self.phases.values())

    def lines(self) -> list[str]:
        """Return a table and advice."""
        rows = [
            f"{name:<14}{1000 * t:>9.1f} ms{100 * t / self.bare:>7.1f} %"
            for name, t in self.phases.items()
        ]
        return [
            f"one step of {self.patches} patches on {self.device}",
            *rows,
            f"{'bare loop':<14}{1000 * self.bare:>9.1f} ms",
            f"{'real run':<14}{1000 * self.loop:>9.1f} ms{_more(self.loop, self.bare)}",
            f"{'with W&B':<14}{1000 * self.tracked:>9.1f} ms{_more(self.tracked, self.bare)}",
            f"peak memory {self.memory:.2f} GiB; {self.patches / self.loop:.2f} patches a second",
        ]


def bench(settings: FinetuneSettings, steps: int = 10) -> Bench:
    """Measure a run of these settings for some steps; nothing of it is kept.

    A bare loop times each phase: waiting for the batch, copying it to the device, augmentation
    where it happens there, the forward pass with the loss, the backward pass, and clipping with
    the optimiser's step. Then the real run does the same steps, without and with W&B.

    Args:
        settings: As for `hilum finetune`.
        steps: Steps that count.
    """
    short = _short(settings, steps, "disabled")
    phases = _bare(short)
    with tempfile.TemporaryDirectory() as folder:
        loop = _real(short, Path(folder) / "plain")
        tracked = _real(_short(settings, steps, "offline"), Path(folder) / "tracked")
    on_gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} threads"
    patches = settings.trainer.batch_size * settings.trainer.accumulate
    return Bench(phases, loop, tracked, _peak(), patches, device)


def advice(found: Bench, settings: FinetuneSettings) -> list[str]:
    """Return what limits the run and which setting to change, the most important first."""
    share = {name: t / found.bare for name, t in found.phases.items()}
    lines = []
    slowest = max(share, key=lambda name: share[name])
    lines.append(f"limit: {slowest}, {100 * share[slowest]:.0f} % of a step")
    cores = os.cpu_count() or 1
    if share["data"] > 0.05:
        more = min(max(settings.trainer.workers * 2, 2), max(cores - 1, 1))
        hint = f"trainer.workers={more} reads ahead while the network computes"
        if settings.trainer.workers >= cores - 1:
            hint = "the store lies on a slow disk, or augmentation is heavy: move it, or lighten it"
        lines.append(f"data: {100 * share['data']:.0f} % of a step is waiting; {hint}")
    on_gpu = torch.cuda.is_available()
    fast = autocast_dtype("cuda" if on_gpu else "cpu")
    if fast is not None and settings.trainer.precision == "32":
        lines.append("precision: this device computes in bfloat16; set trainer.precision=auto")
    if on_gpu:
        total = torch.cuda.get_device_properties(0).total_memory / 2**30
        if found.memory < 0.5 * total:
            lines.append(
                f"memory: {found.memory:.1f} of {total:.0f} GiB used; "
                "a larger batch, patch or encoder fits (`hilum plan`)"
            )
        if settings.trainer.compile == "off":
            lines.append(
                "compile: try trainer.compile=on and trainer.channels_last=true, and compare"
            )
    elif torch.get_num_threads() < cores and settings.trainer.threads is None:
        lines.append(
            f"threads: {torch.get_num_threads()} of {cores} cores; trainer.threads={cores}"
        )
    extra = found.tracked / found.bare - 1
    if extra > 0.1:
        lines.append(
            f"loop: {100 * extra:.0f} % above the bare steps; raise trainer.log_every "
            "and trainer.validate_every"
        )
    return lines


def _bare(settings: FinetuneSettings) -> dict[str, float]:
    module, data = parts_of(settings)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module.to(device).train()
    data.later = device.type == "cuda"  # as in a real run there
    chosen = autocast_dtype(device.type) if settings.trainer.precision == "auto" else None
    chosen = torch.bfloat16 if settings.trainer.precision == "bf16" else chosen
    if chosen is not None:
        guard_bf16_conv3d(module)
    accelerate(module, settings.trainer)
    with halved_small_maps(module):
        return _phases(settings, module, data, device, chosen)


def _phases(
    settings: FinetuneSettings,
    module: FinetuneModule,
    data: PatchData,
    device: torch.device,
    chosen: torch.dtype | None,
) -> dict[str, float]:
    """Return seconds per step of each phase of bare steps, without Lightning."""
    optimiser = module.configure_optimizers()["optimizer"]
    spent: dict[str, float] = defaultdict(float)
    batches = iter(data.train_dataloader())
    for step in range(settings.trainer.steps):
        if step == WARM:
            spent.clear()
        for _ in range(settings.trainer.accumulate):
            with _timed(spent, "data"):
                batch = next(batches)
            with _timed(spent, "transfer"):
                moved = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in batch.items()}
            with _timed(spent, "augmentation"):
                ready = module.augmentation(cast(Batch, moved))
            with (
                _timed(spent, "forward"),
                torch.autocast(device.type, chosen or torch.bfloat16, enabled=chosen is not None),
            ):
                logits = module.segmenter(ready["image"], ready["available"])
                loss, _ = module.criterion(logits, cast(Tensor, ready.get("label")))
            with _timed(spent, "backward"):
                loss.backward()
        with _timed(spent, "optimiser"):
            torch.nn.utils.clip_grad_norm_(module.parameters(), settings.trainer.clip or 1e9)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
    counted = settings.trainer.steps - WARM
    return {name: spent[name] / counted for name in PHASES}


@contextmanager
def _timed(spent: dict[str, float], phase: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    spent[phase] += time.perf_counter() - began


def _real(settings: FinetuneSettings, folder: Path) -> float:
    """Return seconds per step of a real run, after the steps that warm up."""
    finetune(settings, folder, say=lambda text: None)
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    speeds = [row["time/steps_per_second"] for row in rows if "time/steps_per_second" in row]
    return 1 / speeds[-1]


def _short(settings: FinetuneSettings, steps: int, mode: str) -> FinetuneSettings:
    """Return the settings of a run of a few steps without validation, test or checkpoints."""
    total = steps + WARM
    values: dict[str, Any] = settings.model_dump()
    values["trainer"] |= {
        "steps": total,
        "validate_every": total + 1,
        "save_every": total + 1,
        # The first row ends with the first step, the second with the last.
        "log_every": total,
        "tracking": {**values["trainer"]["tracking"], "mode": mode},
    }
    values["split"]["validation"] = 0
    return validate(FinetuneSettings, values | {"evaluate_test": False, "pictures": 0})


def _peak() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    try:
        import resource
    except ImportError:  # Windows has none
        return float("nan")
    unit = 1024**3 if sys.platform == "darwin" else 1024**2
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _more(time_s: float, bare: float) -> str:
    return f"{100 * (time_s / bare - 1):>+7.1f} %"
