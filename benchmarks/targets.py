"""What hilum wants to reach against its peers, and whether the results say so."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
Row = Mapping[str, Any]


def rows_of(name: str, folder: Path = RESULTS) -> list[Row]:
    """Return the rows of a file of results; none if it was not measured."""
    file = folder / f"{name}.json"
    return json.loads(file.read_text())["rows"] if file.is_file() else []


def row_of(name: str, begins: str, folder: Path = RESULTS) -> Row | None:
    """Return the row whose title begins so."""
    return next((row for row in rows_of(name, folder) if row["what"].startswith(begins)), None)


def times(way: str) -> Callable[[Row], tuple[float, float, float]]:
    """Return how often the cost of ours a way costs: least, median, most."""
    return lambda row: tuple(row["times_ours"][way])


def ms(way: str) -> Callable[[Row], tuple[float, float, float]]:
    """Return the milliseconds of a way."""
    return lambda row: tuple(row["ms"][way])


@dataclass(frozen=True)
class Target:
    """One measure.

    Attributes:
        text: What is compared.
        file: Results that tell.
        row: How the title of its row begins.
        value: Takes least, median and most from the row.
        limit: To be reached by the median.
        least: Whether the limit is the least or the most that is wanted.
        unit: Of value and limit.
    """

    text: str
    file: str
    row: str
    value: Callable[[Row], tuple[float, float, float]]
    limit: float
    least: bool
    unit: str = "x"

    def line(self, folder: Path = RESULTS) -> str:
        """Return a line of the table."""
        sign = ">=" if self.least else "<="
        wanted = f"{sign} {self.limit:g} {self.unit}"
        row = row_of(self.file, self.row, folder)
        if row is None:
            return f"| {self.text} | {wanted} | not measured | |"
        low, middle, high = self.value(row)
        met = middle >= self.limit if self.least else middle <= self.limit
        found = f"**{middle:.3g}** {self.unit} ({low:.3g} to {high:.3g})"
        return f"| {self.text} | {wanted} | {found} | {'met' if met else '**missed**'} |"


def _worst(row: Row) -> tuple[float, float, float]:
    """Return how memory later on compares with that after two fifths, when caches are full."""
    after = [value / row["mib"][1] for value in row["mib"][2:]]
    return min(after), after[-1], max(after)


def _apart(row: Row) -> tuple[float, float, float]:
    inside, everywhere = (row["share_of_range"]["scipy zoom"][k] for k in ("most_inside", "most"))
    return inside, inside, everywhere


def _wait(row: Row) -> tuple[float, float, float]:
    return (100 * row["share"],) * 3


def _share(key: str, way: str) -> Callable[[Row], tuple[float, float, float]]:
    return lambda row: tuple(row[key][way])


def _memory(row: Row) -> tuple[float, float, float]:
    return (row["ours_as_share_of"]["nnU-Net"],) * 3


LOADER = "loader with nnU-Net's augmentation, 2 x 96^3"
EPOCH, LOOP = "a training step of an epoch", "the training loop over its bare steps"
PRETRAINING = "the pretraining loop over its bare steps"
DENSE, NNSSL = "masked autoencoder, residual encoder", "the step of nnssl"
TOKENS, EVERY = "the same ViT encoding every token", "SimMIM, every token"
METRICS = "all metrics of a case of 160 x 192 x 192, 10 nodes"

PEAK = _share("share_of_nnunet", "hilum")
PEAK_32 = _share("share_of_nnunet", "hilum, float32")
OWN_32 = _share("share_of_nnunet_own", "hilum, float32")
SPLINE, PREPARE, STEPS = "order 3", "prepare a case", "3000 steps"

TARGETS = (
    Target("loading and augmenting: nnU-Net", "data", LOADER, times("nnU-Net"), 3, True),
    Target("the same: MONAI, cached", "data", LOADER, times("MONAI, CacheDataset"), 2, True),
    Target("transport of a 96^3 patch", "transport", "", ms("hilum, 2 threads"), 2, False, "ms"),
    Target("waiting at a step of 100 ms", "growth", "wait at", _wait, 2, False, "%"),
    Target("training loop over bare steps", "epoch", LOOP, times("hilum"), 1.03, False),
    Target("the same: pretraining", "pretext", PRETRAINING, times("hilum"), 1.03, False),
    Target("masked autoencoder: nnssl's step", "pretext", DENSE, times(NNSSL), 1, True),
    Target("its ViT: every token encoded", "pretext", TOKENS, times(EVERY), 4, True),
    Target("epoch of fine-tuning: nnU-Net", "epoch", EPOCH, times("nnU-Net"), 2, True),
    Target("the same, wall time on all cores", "epoch_wall", "", times("nnU-Net"), 2, True),
    Target("prediction: nnU-Net", "prediction", "96 x 96 x 128", times("nnU-Net"), 2, True),
    Target("its bookkeeping alone: MONAI", "prediction", "overhead alone", times("MONAI"), 1, True),
    Target("its peak memory, of nnU-Net's", "prediction", "peak memory", _memory, 1, False),
    Target("peak memory of training, of nnU-Net's", "training_memory", "", PEAK, 1, False),
    Target("the same in float32", "training_memory", "", PEAK_32, 1, False),
    Target("the same, mapped files left out", "training_memory", "", OWN_32, 1, False),
    Target("order-3 resampling: scipy", "resampling", SPLINE, times("scipy zoom"), 10, True),
    Target("the same: nnU-Net", "resampling", SPLINE, times("nnU-Net"), 10, True),
    Target("its distance to scipy's, of the range", "resampling", SPLINE, _apart, 1e-4, False, ""),
    Target("preparing a case: nnU-Net", "preparing", PREPARE, times("nnU-Net, cubic"), 3, True),
    Target("all metrics of a case", "evaluating", METRICS, ms("hilum, all"), 80, False, "ms"),
    Target("the same: MONAI, four of them", "evaluating", METRICS, times("MONAI, four"), 5, True),
    Target(
        "`hilum --help`: torch's import", "startup", "the command", times("import torch"), 1, True
    ),
    Target("memory, end over two fifths: loader", "memory_use", "loading", _worst, 1.02, False),
    Target("the same: training loop", "memory_use", STEPS, _worst, 1.02, False),
)
"""In the order of the table; a peer's line says how often our cost it costs."""
