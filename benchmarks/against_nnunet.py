r"""Segmenters of hilum and nnU-Net from the same labelled patients in the same minutes.

    python benchmarks/against_nnunet.py work/manifest.csv work/store --out work/against \
        --encoder work/pretrain/encoder --labels 2 5 --seeds 0 1 --minutes 2

For each number of labelled patients and each seed (which draws them) the arms are: hilum from
scratch, hilum from an encoder folder, nnU-Net as it plans itself, and nnU-Net with the spacing, the
patch, the batch and the width of hilum's network. Each trains for the same wall-clock minutes in
one thread, counted from its first step, on the same patients; nnU-Net's rate falls with the time,
as hilum's does. All predict the test patients' original files without mirror images, and the masks
are evaluated by the same function. What is done already is not done again. Results go to
`results/against_nnunet_<name>.json`; the store's spacing counts for both.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "offline")

import torch
from arm import METRICS, Budget, Setup, values
from arm_hilum import hilum, settings_of
from arm_nnunet import nnunet
from cohort import point_nnunet
from timing import RESULTS, machine

from hilum.core.files import read_json, write_json
from hilum.evaluation.statistics.comparison import paired_comparison

torch.set_num_threads(1)
BASE = "nnU-Net, hilum's plan"
AUGMENTATION = {"augmentation": {"dropout": 0.0, "misalign_p": 0}}


def main() -> None:
    """Train, predict and evaluate every arm; compare them patient by patient."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--labels", type=int, nargs="+", default=[2])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--test", type=float, default=0.34, help="share of the test patients")
    parser.add_argument("--name", default="phantom")
    parser.add_argument("--skip", nargs="*", default=[], help="arms to leave out")
    given = parser.parse_args()
    point_nnunet(given.out / "nnunet")
    budget = Budget(given.minutes)
    setup = Setup(given.manifest, given.store, given.out / "nnunet", budget, given.test)
    rows = []
    for labels in given.labels:
        for seed in given.seeds:
            folder = given.out / f"n{labels}-seed{seed}"
            for arm, found in arms(given, setup, folder, labels, seed):
                rows.append({"labels": labels, "seed": seed, "arm": arm, **found})
            _write(given, rows)


def arms(
    given: argparse.Namespace, setup: Setup, folder: Path, labels: int, seed: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return what each arm measured for one draw of labelled patients."""
    settings = settings_of(setup, labels, seed) | AUGMENTATION
    yield "hilum, from scratch", hilum(setup, folder / "scratch", settings)
    split = read_json(folder / "scratch" / "run" / "split.json")
    if given.encoder:
        settings |= {"init_from": str(given.encoder)}
        yield "hilum, pretrained", hilum(setup, folder / "pretrained", settings)
    if "own" not in given.skip:
        yield "nnU-Net, its own plan", nnunet(setup, folder / "own", split, False)
    if "ours" not in given.skip:
        yield BASE, nnunet(setup, folder / "ours", split, True)


def _write(given: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Write every arm's means and the paired differences from hilum's best-known arms."""
    table = []
    for labels in dict.fromkeys(row["labels"] for row in rows):
        own = [row for row in rows if row["labels"] == labels]
        for arm in dict.fromkeys(row["arm"] for row in own):
            line: dict[str, Any] = {"labels": labels, "arm": arm}
            line["steps"] = [row["steps"] for row in own if row["arm"] == arm]
            for metric in METRICS:
                line[metric] = _against(own, arm, metric)
            table.append(line)
    plans = {row["arm"]: row["plan"] for row in rows if "plan" in row}
    write_json(
        RESULTS / f"against_nnunet_{given.name}.json",
        {"machine": machine(), "minutes": given.minutes, "plans": plans, "rows": table},
    )
    for line in table:
        print(line["labels"], line["arm"], line["steps"], line["dice"])


def _against(own: list[dict[str, Any]], arm: str, metric: str) -> dict[str, Any]:
    """Return the mean of an arm, and its paired difference from nnU-Net with hilum's plan."""
    mine, base = (values([row for row in own if row["arm"] == a], metric) for a in (arm, BASE))
    if not mine or not base:
        return {}
    found = paired_comparison(mine, base)
    return {
        "mean": round(found.mean_a, 4),
        "difference": round(found.difference, 4),
        "low": round(found.ci_low, 4),
        "high": round(found.ci_high, 4),
        "p": round(found.p_value, 4),
        "patients": found.n_patients,
        "seeds": found.n_seeds,
    }


if __name__ == "__main__":
    main()
