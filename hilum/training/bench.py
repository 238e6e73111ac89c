"""Where the time of a training run goes on this machine, what limits it, and what to change."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytorch_lightning as pl
import torch
from torch import Tensor

from hilum.core.conv3d_cpu_workaround import halved_small_maps
from hilum.core.precision import autocast_dtype, guard_bf16_conv3d

from .acceleration import accelerate
from .metrics_file import read_metrics
from .settings import TrainerSettings
from .threads import readers

PHASES = ("data", "transfer", "augmentation", "forward", "backward", "optimiser")
WARM = 2
"""Steps that prepare kernels and caches, and do not count."""


@dataclass(frozen=True)
class Parts:
    """A run taken apart, for a loop that has nothing else.

    Attributes:
        module: What learns, with its optimiser.
        data: Gives batches.
        augment: Makes of a batch on the device, and the number of the step, what the loss takes.
        loss: Forward pass and loss.
        after: What follows the optimiser's step.
    """

    module: pl.LightningModule
    data: pl.LightningDataModule
    augment: Callable[[Any, int], Any]
    loss: Callable[[Any], Tensor]
    after: Callable[[int], object] = lambda step: None


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


class Trains(Protocol):
    """Settings of a run of any kind."""

    @property
    def trainer(self) -> TrainerSettings:
        """How it trains."""
        ...


S = TypeVar("S", bound=Trains)


def bench(
    lasting: Callable[[int, str], S],
    apart: Callable[[S], Parts],
    run: Callable[[S, Path], object],
    steps: int,
) -> Bench:
    """Measure a run for some steps; nothing of it is kept.

    A bare loop times each phase: waiting for the batch, copying it to the device, augmentation
    where it happens there, the forward pass with the loss, the backward pass, and clipping with
    the optimiser's step. Then the real run does the same steps, without and with W&B.

    Args:
        lasting: Gives the run's settings for so many steps, see `short`, with W&B in a mode.
        apart: Takes a run apart.
        run: Makes a real run in a folder.
        steps: Steps that count.
    """
    own = lasting(steps, "disabled")
    phases = bare(apart(own), own.trainer, steps)
    with tempfile.TemporaryDirectory() as folder:
        loop, tracked = (
            real(partial(run, lasting(steps, mode)), Path(folder) / mode)
            for mode in ("disabled", "offline")
        )
    on_gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} threads"
    patches = own.trainer.batch_size * own.trainer.accumulate
    return Bench(phases, loop, tracked, _peak(), patches, device)


def short(values: dict[str, Any], steps: int, mode: str) -> dict[str, Any]:
    """Return settings of a trainer that runs some steps without validation or checkpoints.

    Args:
        values: Settings of the trainer that it is made from.
        steps: Steps that count; `WARM` come before.
        mode: Of W&B.
    """
    total = steps + WARM
    return values | {
        "steps": total,
        "validate_every": total + 1,
        "save_every": total + 1,
        # The first row ends with the first step, the second with the last.
        "log_every": total,
        "tracking": {**values["tracking"], "mode": mode},
    }


def advice(found: Bench, trainer: TrainerSettings) -> list[str]:
    """Return what limits the run and which setting to change, the most important first."""
    share = {name: t / found.bare for name, t in found.phases.items()}
    lines = []
    slowest = max(share, key=lambda name: share[name])
    lines.append(f"limit: {slowest}, {100 * share[slowest]:.0f} % of a step")
    cores = os.cpu_count() or 1
    if share["data"] > 0.05:
        more = min(max(readers(trainer) * 2, 2), max(cores - 1, 1))
        hint = f"trainer.workers={more} reads ahead while the network computes"
        if readers(trainer) >= cores - 1:
            hint = "the store lies on a slow disk, or augmentation is heavy: move it, or lighten it"
        lines.append(f"data: {100 * share['data']:.0f} % of a step is waiting; {hint}")
    on_gpu = torch.cuda.is_available()
    fast = autocast_dtype("cuda" if on_gpu else "cpu")
    if fast is not None and trainer.precision == "32":
        lines.append("precision: this device computes in bfloat16; set trainer.precision=auto")
    if on_gpu:
        total = torch.cuda.get_device_properties(0).total_memory / 2**30
        if found.memory < 0.5 * total:
            lines.append(
                f"memory: {found.memory:.1f} of {total:.0f} GiB used; "
                "a larger batch, patch or encoder fits (`hilum plan`)"
            )
        if trainer.compile == "off":
            lines.append("compile: try trainer.compile=on, and compare")
    elif torch.get_num_threads() < cores and trainer.threads is None:
        lines.append(
            f"threads: {torch.get_num_threads()} of {cores} cores; trainer.threads={cores}"
        )
    extra = found.tracked / found.bare - 1
    if extra > 0.1:
        lines.append(
            f"loop: {100 * extra:.0f} % above the bare steps, W&B's part "
            f"{100 * (found.tracked - found.loop) / found.bare:.0f} %"
        )
    return lines


def bare(parts: Parts, trainer: TrainerSettings, steps: int) -> dict[str, float]:
    """Return seconds per step of each phase of bare steps, without Lightning."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    parts.module.to(device).train()
    parts.data.late = device.type == "cuda"  # pyright: ignore  as in a real run there
    chosen = autocast_dtype(device.type) if trainer.precision == "auto" else None
    chosen = torch.bfloat16 if trainer.precision == "bf16" else chosen
    if chosen is not None:
        guard_bf16_conv3d(parts.module)
    accelerate(parts.module, trainer)
    with halved_small_maps(parts.module):
        return _phases(parts, trainer, steps, device, chosen)


def _phases(
    parts: Parts,
    trainer: TrainerSettings,
    steps: int,
    device: torch.device,
    chosen: torch.dtype | None,
) -> dict[str, float]:
    found: Any = parts.module.configure_optimizers()
    optimiser = found["optimizer"]
    spent: dict[str, float] = defaultdict(float)
    batches = iter(parts.data.train_dataloader())
    for step in range(steps + WARM):
        if step == WARM:
            spent.clear()
        for _ in range(trainer.accumulate):
            with _timed(spent, "data"):
                batch = next(batches)
            with _timed(spent, "transfer"):
                moved = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in batch.items()}
            with _timed(spent, "augmentation"):
                ready = parts.augment(moved, step)
            with (
                _timed(spent, "forward"),
                torch.autocast(device.type, chosen or torch.bfloat16, enabled=chosen is not None),
            ):
                loss = parts.loss(ready)
            with _timed(spent, "backward"):
                loss.backward()
        with _timed(spent, "optimiser"):
            torch.nn.utils.clip_grad_norm_(parts.module.parameters(), trainer.clip or 1e9)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            parts.after(step + 1)
    return {name: spent[name] / steps for name in PHASES}


@contextmanager
def _timed(spent: dict[str, float], phase: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    spent[phase] += time.perf_counter() - began


def real(run: Callable[[Path], object], folder: Path) -> float:
    """Return seconds per step of a real run of `short` length, after the steps that warm up."""
    run(folder)
    rows = read_metrics(folder / "metrics.jsonl")
    speeds = [row["time/steps_per_second"] for row in rows if "time/steps_per_second" in row]
    return 1 / speeds[-1]


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
