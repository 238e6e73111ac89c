"""Draw the pictures of docs/performance.md from the results."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from targets import Row, rows_of

mpl.use("Agg")
from matplotlib import pyplot as plt

COLOURS = {"nnU-Net": "#d55e00", "MONAI": "#009e73", "nnssl": "#cc79a7"}
STYLES = {
    "hilum, from scratch": ("#0072b2", "-", "o"),
    "hilum, most probable class": ("#56b4e9", "--", "s"),
    "nnU-Net, hilum's plan": ("#d55e00", "-", "o"),
    "nnU-Net, its own plan": ("#d55e00", "", "D"),
    "Auto3DSeg SegResNet": ("#009e73", "-", "o"),
}
"""Colour, line and mark of each arm of `time_to_quality.py`."""
PEERED = ("data", "preparing", "resampling", "epoch", "pretext", "prediction", "evaluating")


def draw(results: Path, folder: Path) -> list[Path]:
    """Draw every picture for which there are results."""
    made = [ratios(results, folder), curves(results, folder), phases(results, folder)]
    made.append(quality(results, folder))
    return [file for file in made if file is not None]


def _save(figure: plt.Figure, file: Path) -> Path:  # pyright: ignore[reportPrivateImportUsage]
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    plt.close(figure)
    return file


def ratios(results: Path, folder: Path) -> Path | None:
    """Draw how often our cost each peer costs, on a logarithmic axis."""
    bars: list[tuple[str, tuple[float, float, float], str]] = []
    for name in PEERED:
        for row in rows_of(name, results):
            for way, three in row.get("times_ours", {}).items():
                colour = next((c for peer, c in COLOURS.items() if way.startswith(peer)), None)
                if colour:
                    bars.append((f"{row['what']}: {way}", tuple(three), colour))
    if not bars:
        return None
    figure, axis = plt.subplots(figsize=(10, 0.27 * len(bars) + 0.8))
    for place, (_, (low, middle, high), colour) in enumerate(bars):
        axis.plot([low, high], [place, place], color=colour, lw=2)
        axis.plot([middle], [place], "o", color=colour, ms=5)
    axis.axvline(1, color="0.4", lw=1)
    axis.set_xscale("log")
    axis.set_xticks([0.5, 1, 2, 5, 10, 20, 50], ["0.5", "1", "2", "5", "10", "20", "50"])
    axis.minorticks_off()
    axis.set_yticks(range(len(bars)), [name for name, _, _ in bars], fontsize=7)
    axis.invert_yaxis()
    axis.grid(axis="x", alpha=0.3)
    axis.set_xlabel("CPU time, times hilum's (median and range)")
    return _save(figure, folder / "performance_ratios.png")


def _points(rows: list[Row], what: str, key: str, value: str) -> tuple[list, list]:
    chosen = [row for row in rows if row["what"] == what and key in row]
    return [row[key] for row in chosen], [row[value][1] for row in chosen]


def curves(results: Path, folder: Path) -> Path | None:
    """Draw growth with patch, modalities, threads and cohort."""
    rows, stores = rows_of("growth", results), rows_of("scale", results)
    if not rows:
        return None
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.2))
    for what in ("load and augment a patch", "a step, early fusion"):
        axes[0].loglog(*_points(rows, what, "side", "ms"), "o-", label=what)
    axes[0].set_xticks([32, 48, 64, 96], ["32", "48", "64", "96"])
    axes[0].minorticks_off()
    axes[0].set(xlabel="voxels a side", ylabel="ms of one thread")
    for fusion in ("early", "mean", "cross_attention"):
        found = _points(rows, f"a step, {fusion}, 32^3", "modalities", "ms")
        axes[1].plot(*found, "o-", label=fusion)
    axes[1].set(xlabel="modalities", ylabel="ms of a step, 32^3", xticks=[2, 3, 4], ylim=(0, None))
    axes[2].plot(*_points(rows, "threads of the loader", "threads", "rate"), "o-", label="64^3")
    axes[2].set(xlabel="threads of the loader", ylabel="patches per second", ylim=(0, None))
    sizes = [int(row["what"].split()[3]) for row in stores]
    axes[3].semilogx(sizes, [row["ms per patch"][1] for row in stores], "o-", label="ms a patch")
    axes[3].semilogx(sizes, [row["MB for it all"] for row in stores], "o-", label="MB")
    axes[3].set(xlabel="cases in the store", ylim=(0, None))
    for axis in axes:
        axis.legend(fontsize=7)
        axis.grid(alpha=0.3)
    return _save(figure, folder / "performance_growth.png")


def phases(results: Path, folder: Path) -> Path | None:
    """Draw where the time of a step goes."""
    row = next((r for r in rows_of("growth", results) if r["what"].startswith("phases")), None)
    if row is None:
        return None
    figure, axis = plt.subplots(figsize=(9, 1.7))
    left = 0.0
    for number, (name, took) in enumerate(row["ms"].items()):
        axis.barh([0], [took], left=left, color=f"C{number}", label=f"{name} {took:.1f} ms")
        left += took
    axis.set_yticks([])
    axis.set_xlabel(f"ms: {row['what']}")
    axis.legend(fontsize=7, ncols=6, loc="upper center", bbox_to_anchor=(0.5, 1.4))
    return _save(figure, folder / "performance_step.png")


def quality(results: Path, folder: Path) -> Path | None:
    """Draw the Dice of each tool over minutes of training, each point a run of its own."""
    rows = [row for row in rows_of("time_to_quality", results) if row["dice"] is not None]
    if not rows:
        return None
    figure, axis = plt.subplots(figsize=(7, 4))
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    for number, arm in enumerate(arms):
        own = [row for row in rows if row["arm"] == arm]
        # A little apart, so that intervals at the same minutes can be told from each other.
        places = [row["minutes"] * 1.03 ** (number - (len(arms) - 1) / 2) for row in own]
        dice = [row["dice"] for row in own]
        ends = [row["dice, 95 %"] for row in own]
        reach = [
            [
                0 if end[side] is None else abs(end[side] - d)
                for d, end in zip(dice, ends, strict=True)
            ]
            for side in (0, 1)
        ]
        colour, style, mark = STYLES[arm]
        axis.errorbar(
            places, dice, reach, color=colour, ls=style, marker=mark, label=arm, capsize=2
        )
    minutes = sorted({row["minutes"] for row in rows})
    axis.set_xscale("log")
    axis.set_xticks(minutes, [f"{m:g}" for m in minutes])
    axis.minorticks_off()
    axis.set(xlabel="processor minutes of training, one thread", ylabel="Dice", ylim=(0, None))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    return _save(figure, folder / "performance_quality.png")
