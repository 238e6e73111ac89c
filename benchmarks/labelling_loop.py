"""A labelling loop with an exact labeller: Dice over edits, and how long choosing takes.

    python benchmarks/labelling_loop.py WORK [--by NAME=FOLDER ...] [--edition 2] [--patients 16]

Makes phantoms in `WORK` and proposes for those that do not test: with each folder of a segmenter or
of a network that segments, else with a network that has learned nothing and begins as a soft
threshold on the SUV (`prior_rule`), as in the first round of a cohort without labels. The exact
truth then corrects the proposals, one edit at a time: a false proposal is deleted, one that touches
nodes is redrawn as these nodes (an edit each), a missed node is drawn. Edits come in the order that
a labeller works in, the most doubtful proposal first, and missed nodes at the end; and, as another
arm, the largest change first. Against both stands labelling from nothing, the largest node first.
An edit is an edit: that deleting is faster than drawing is not counted in favour of proposals.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from timing import write

import hilum
import hilum.annotate
from hilum.annotate.proposing.numbering import numbered
from hilum.annotate.proposing.record import Proposal
from hilum.annotate.proposing.settings import ProposalSettings
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

LIMIT = 2.5
SPACING = (4.0, 4.0, 4.0)
AT = (0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20)
DICE = (0.8, 0.9, 0.95, 1.0)


def dice(mask: np.ndarray, truth: np.ndarray) -> float:
    total = int(mask.sum()) + int(truth.sum())
    return 2 * int((mask & truth).sum()) / total if total else 1.0


class Edit(NamedTuple):
    """One step of a labeller: what it takes out of the mask and what it puts in, as indices."""

    out: np.ndarray
    put: np.ndarray

    def size(self, mask: np.ndarray) -> int:
        """Return how many voxels it changes."""
        return int(mask[self.out].sum()) + int((~mask[self.put]).sum())


def edits_from_nothing(truth: np.ndarray) -> list[Edit]:
    """Return one edit per node, the largest first."""
    nodes = Instances.of(truth)
    none = np.zeros(0, int)
    return [Edit(none, places(nodes.labels == n)) for n in range(1, nodes.count + 1)]


def edits_of(numbers: np.ndarray, truth: np.ndarray) -> list[Edit]:
    """Return the edits that make proposals exact, in the order of their numbers.

    Args:
        numbers: Number of the proposal at each voxel, 0 for none.
        truth: Whole numbers above 0 at nodes.
    """
    nodes, found, drawn = Instances.of(truth), list[Edit](), set[int]()
    none = np.zeros(0, int)
    for number in range(1, int(numbers.max(initial=0)) + 1):
        own = numbers == number
        met = sorted(set(np.unique(nodes.labels[own]).tolist()) - {0} - drawn)
        drawn |= set(met)
        wrong = places(own & (nodes.labels == 0))
        if len(met) == 1 and (own == (nodes.labels == met[0])).all():
            continue
        if not met and len(wrong):
            found.append(Edit(wrong, none))
        found += [Edit(wrong, places(nodes.labels == node)) for node in met]
    rest = [n for n in range(1, nodes.count + 1) if n not in drawn]
    return [*found, *(Edit(none, places(nodes.labels == node)) for node in rest)]


def places(mask: np.ndarray) -> np.ndarray:
    return np.flatnonzero(mask)


def curve(mask: np.ndarray, edits: Sequence[Edit], truth: np.ndarray) -> list[float]:
    """Return Dice before the first and after each edit."""
    known, now = (truth > 0).ravel(), (mask > 0).ravel().copy()
    found = [dice(now, known)]
    for edit in edits:
        now[edit.out] = False
        now[edit.put] = True
        found.append(dice(now, known))
    return found


def by_size(edits: Sequence[Edit], mask: np.ndarray) -> list[Edit]:
    """Return edits so that the one that changes most comes first."""
    start = (mask > 0).ravel()
    return sorted(edits, key=lambda edit: -edit.size(start))


def at(curve: list[float], edits: int) -> float:
    """Return Dice after so many edits; a case that needs no more is done."""
    return curve[min(edits, len(curve) - 1)]


def until(curve: list[float], wanted: float) -> int:
    """Return after how many edits Dice is as high for the first time."""
    return next(number for number, value in enumerate(curve) if value >= wanted)


def curves(proposals: list[Proposal], labels: dict[str, Path]) -> dict[str, list[list[float]]]:
    """Return Dice over edits of each case by arm."""
    found: dict[str, list[list[float]]] = {"doubtful": [], "largest": [], "nothing": []}
    for one in proposals:
        mask, truth = read_label(one.mask_of_proposal), read_label(labels[one.case])
        nodes = [NodeRecord.from_row(row) for row in one.nodes]
        numbers = numbered(mask.array, mask.grid, nodes)
        known = (truth.array > 0).astype(np.uint8)
        edits = edits_of(numbers, known)
        found["doubtful"].append(curve(numbers, edits, known))
        found["largest"].append(curve(numbers, by_size(edits, numbers), known))
        none = np.zeros_like(known)
        found["nothing"].append(curve(none, edits_from_nothing(known), known))
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


def rows_of(proposer: str, found: Mapping[str, list[list[float]]]) -> list[dict[str, object]]:
    """Return Dice after so many edits, and edits until so much Dice, with paired differences."""
    rows: list[dict[str, object]] = []
    for edits in AT:
        own = {arm: np.array([at(one, edits) for one in all_]) for arm, all_ in found.items()}
        rows.append({"proposals": proposer, "dice_after_edits": edits, **paired(own, (-1.0, 1.0))})
    for wanted in DICE:
        own = {
            arm: np.array([float(until(one, wanted)) for one in all_])
            for arm, all_ in found.items()
        }
        free = (-np.inf, np.inf)
        rows.append({"proposals": proposer, "edits_until_dice": wanted, **paired(own, free)})
    return rows


def paired(own: Mapping[str, np.ndarray], bounds: tuple[float, float]) -> dict[str, object]:
    """Return means, and each arm less `nothing` with its 95 % interval over patients."""
    found: dict[str, object] = {arm: round(float(v.mean()), 4) for arm, v in own.items()}
    for arm in ("doubtful", "largest"):
        apart = own[arm] - own["nothing"]
        ends = interval(float(apart.mean()), apart[:, None], bounds)
        found[f"{arm}_less_nothing"] = [round(v, 4) for v in (float(apart.mean()), *ends)]
    return found


def rule() -> Segmenter:
    """Return a network that has learned nothing and begins as a soft threshold on the SUV."""
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
    return Segmenter(validate(SegmenterConfig, config)).eval()


def main() -> None:
    """Make phantoms, propose, correct, and write how Dice grows."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--by", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--edition", type=int, default=1)
    parser.add_argument("--patients", type=int, default=16)
    parser.add_argument("--size", default="demo")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--threshold", type=float, help="of the proposals; half of the usual")
    parser.add_argument("--name", default="labelling_loop", help="of the file in results/")
    asked = parser.parse_args()
    seconds = choosing()
    print(f"choosing 20 of 1,000: {seconds}")
    manifest = asked.work / "cohort" / "manifest.csv"
    if not manifest.exists():
        about = {key: getattr(asked, key) for key in ("edition", "patients", "size", "seed")}
        hilum.phantom(asked.work / "cohort", validate(PhantomSettings, about))
    cases = read_manifest(manifest)
    plan = asked.work / "labelling.csv"
    plan.write_text("patient\n" + "".join(f"{c.patient}\n" for c in cases if c.split != "test"))
    given: dict[str, str | Segmenter] = dict(one.split("=", 1) for one in asked.by)
    settings = validate(ProposalSettings, {"threshold": asked.threshold})
    rows: list[dict[str, object]] = []
    for name, proposer in (given or {f"SUV {LIMIT}": rule()}).items():
        out = asked.work / f"proposals {name}"
        proposals = hilum.annotate.propose(
            proposer, manifest, out, plan=plan, settings=settings, say=print
        )
        found = curves(proposals, {c.id: c.label for c in cases if c.label is not None})
        rows += rows_of(name, found)
        rows.append({"proposals": name, "cases": len(proposals)})
    for row in rows:
        print(row)
    rows.append({"seconds_to_choose_20_of_1000": seconds})
    # As asked, but for where it was: the same elsewhere makes the same.
    words = [word for word in sys.argv[1:] if word != str(asked.work)]
    write(asked.name, shlex.join(["python", "benchmarks/labelling_loop.py", "WORK", *words]), rows)


if __name__ == "__main__":
    main()
