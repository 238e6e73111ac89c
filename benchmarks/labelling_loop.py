"""A labelling loop with an exact labeller: Dice over edits, and how long choosing takes.

`python benchmarks/labelling_loop.py WORK [SEGMENTER]` writes `results/labelling_loop.json` in a few
minutes. It makes phantoms and proposes for them with a network that has learned nothing and begins
as a soft threshold on the SUV (`prior_rule`), as in the first round of a cohort without labels, or
with a segmenter that was trained on another cohort. The exact truth then corrects the proposals,
the most doubtful first, one edit at a time: a false proposal is deleted, one that touches nodes is
redrawn as these nodes (an edit each), a missed node is drawn. Against it stands labelling from
nothing, the largest node first. An edit is an edit: that deleting is faster than drawing is not
counted in favour of proposals.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from timing import write

import hilum
import hilum.annotate
from hilum.annotate.proposing.numbering import numbered
from hilum.annotate.proposing.record import Proposal
from hilum.annotate.strategies import STRATEGIES
from hilum.annotate.strategies.base import Pool
from hilum.core.settings import validate
from hilum.datasets.io.nifti import read_label
from hilum.datasets.manifest import read_manifest
from hilum.datasets.phantoms.cohort import PhantomSettings
from hilum.evaluation.metrics.instances import Instances
from hilum.evaluation.metrics.node_record import NodeRecord
from hilum.evaluation.statistics.intervals import interval
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

PATIENTS, SEED, LIMIT = 16, 3, 2.5
SPACING = (4.0, 4.0, 4.0)
AT = (0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20)


def dice(mask: np.ndarray, truth: np.ndarray) -> float:
    total = int(mask.sum()) + int(truth.sum())
    return 2 * int((mask & truth).sum()) / total if total else 1.0


def from_nothing(truth: np.ndarray) -> list[float]:
    """Return Dice after each node is drawn, the largest first."""
    nodes, mask = Instances.of(truth), np.zeros(truth.shape, bool)
    found = [dice(mask, truth > 0)]
    for number in range(1, nodes.count + 1):
        mask |= nodes.labels == number
        found.append(dice(mask, truth > 0))
    return found


def from_proposals(numbers: np.ndarray, truth: np.ndarray) -> list[float]:
    """Return Dice after each edit of proposals by the truth, in the order of their numbers."""
    nodes, mask, known = Instances.of(truth), numbers > 0, truth > 0
    found, drawn = [dice(mask, known)], set[int]()
    for number in range(1, int(numbers.max(initial=0)) + 1):
        own = numbers == number
        met = sorted(set(np.unique(nodes.labels[own]).tolist()) - {0} - drawn)
        right = np.isin(nodes.labels, [*met, *drawn])
        if not (own & ~right).any() and not met:
            continue
        if len(met) == 1 and (own == (nodes.labels == met[0])).all():
            drawn |= set(met)
            continue
        if not met:
            mask &= ~own | right
            found.append(dice(mask, known))
        for node in met:
            mask = (mask & (~own | right)) | (nodes.labels == node)
            drawn.add(node)
            found.append(dice(mask, known))
    for node in sorted(set(range(1, nodes.count + 1)) - drawn):
        mask |= nodes.labels == node
        found.append(dice(mask, known))
    return found


def at(curve: list[float], edits: int) -> float:
    """Return Dice after so many edits; a case that needs no more is done."""
    return curve[min(edits, len(curve) - 1)]


def curves(proposals: list[Proposal], labels: dict[str, Path]) -> dict[str, list[list[float]]]:
    found: dict[str, list[list[float]]] = {"proposals": [], "nothing": []}
    for one in proposals:
        mask, truth = read_label(one.mask_of_proposal), read_label(labels[one.case])
        nodes = [NodeRecord.from_row(row) for row in one.nodes]
        numbers = numbered(mask.array, mask.grid, nodes)
        known = (truth.array > 0).astype(np.uint8)
        found["proposals"].append(from_proposals(numbers, known))
        found["nothing"].append(from_nothing(known))
    return found


def choosing(count: int = 1000, picks: int = 20) -> dict[str, float]:
    """Return seconds to choose from so many patients, by strategy."""
    vectors = np.random.default_rng(0).normal(size=(count, 1024)).astype(np.float32)
    doubt = np.random.default_rng(1).uniform(size=(count, 1))
    names = [str(n) for n in range(count)]

    def anyone(chosen: object) -> np.ndarray:
        may = np.ones(count, bool)
        may[list(chosen)] = False  # pyright: ignore
        return may

    seconds = {}
    for name in STRATEGIES:
        pool = Pool(names, np.random.default_rng(0), vectors, None, doubt)
        began = time.perf_counter()
        STRATEGIES[name]().pick(pool, picks, anyone)
        seconds[name] = round(time.perf_counter() - began, 2)
    return seconds


def main(work: Path, folder: str | None = None) -> None:
    seconds = choosing()
    print(f"choosing 20 of 1,000: {seconds}")
    manifest = work / "cohort" / "manifest.csv"
    if not manifest.exists():
        phantoms = validate(PhantomSettings, {"patients": PATIENTS, "size": "demo", "seed": SEED})
        hilum.phantom(work / "cohort", phantoms)
    config = {
        "modalities": ("ct", "pet"),
        "encoder": {"name": "resenc", "features": [4, 8], "blocks": [1, 1]},
        "fusion": {"name": "early"},
        "patch": (32, 32, 32),
        "spacing": SPACING,
        "prior_rule": {"limit": LIMIT},
        "preparation": {"modalities": ("ct", "pet")},
    }
    torch.manual_seed(0)
    segmenter = Segmenter(validate(SegmenterConfig, config)).eval()
    cases = read_manifest(manifest)
    plan = work / "labelling.csv"
    plan.write_text("patient\n" + "".join(f"{c.patient}\n" for c in cases if c.split != "test"))
    proposals = hilum.annotate.propose(folder or segmenter, manifest, work / "proposals", plan=plan)
    found = curves(proposals, {c.id: c.label for c in cases if c.label is not None})
    rows = []
    for edits in AT:
        own = {arm: np.array([at(curve, edits) for curve in all_]) for arm, all_ in found.items()}
        apart = own["proposals"] - own["nothing"]
        low, high = interval(float(apart.mean()), apart[:, None], (-1, 1))
        rows.append({"edits": edits, **{arm: float(v.mean()) for arm, v in own.items()},
                     "difference": float(apart.mean()), "low": low, "high": high})  # fmt: skip
        print(rows[-1])
    needed = {arm: float(np.mean([len(c) - 1 for c in all_])) for arm, all_ in found.items()}
    print(f"edits until exact: {needed}")
    rows.append({"edits_until_exact": needed, "patients": len(proposals)})
    rows.append({"seconds_to_choose_20_of_1000": seconds})
    write("labelling_loop", "python benchmarks/labelling_loop.py WORK", rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
