r"""Dice over minutes of training: hilum, nnU-Net and the SegResNet recipe of MONAI's Auto3DSeg.

    hilum phantom work/cohort patients=30 size=demo edition=2 test_fraction=0.3334 seed=21
    hilum prepare work/cohort/manifest.csv --out work/store spacing=[4,4,4]
    python benchmarks/time_to_quality.py work/cohort/manifest.csv work/store --out work/quality

All arms get the same labelled patients and the same test patients, whom they predict from the
original files without mirror images, and one function evaluates all masks. Every point of the curve
is a run of its own, whose learning rate ends with its own budget, so early points are not those of
a long run that was cut. The minutes are those of the processor, over all threads of the process, of
which one computes: on a quiet machine the same as by the clock; each row has both. What comes
before the first step (preparing, planning, preprocessing, caching) is not counted for anyone.

The arms:

- `hilum`: from scratch, default augmentation, weights averaged, with the operating point that two
  further labelled patients choose, as by default.
- `hilum-raw`: the same runs without what those two patients chose: the most probable class, as in
  the other arms, which leave them aside (nnU-Net reads them as its fold for validation).
- `nnunet`: nnU-Net with the spacing, patch, batch and widths of hilum's network.
- `segresnet`: Auto3DSeg's recipe with the same; see `arm_segresnet.py`.
- `nnunet-own`: nnU-Net as it plans itself, with the longest budget alone.

hilum computes in bfloat16 where the processor has it, the others in float32, as each does by
itself. What is done already is not done again. Results go to `results/time_to_quality.json`;
`--smoke` runs every arm for seconds on a cohort of its own, prints the rows and writes no result.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "offline")
sys.path.insert(0, str(Path(__file__).parent))

import torch
from arm import Budget, Plan, Setup
from arm_hilum import hilum, most_probable, settings_of
from arm_nnunet import nnunet
from arm_segresnet import segresnet
from cohort import point_nnunet
from quality_curve import ARMS, table
from timing import write

from hilum.core.files import read_json
from hilum.core.settings import validate
from hilum.datasets.phantoms.cohort import PhantomSettings, write_cohort
from hilum.datasets.prepare.run import PrepareSettings, prepare

torch.set_num_threads(1)
SMALL = Plan(features=(4, 8, 8), patch=(16, 16, 16), batch=2, voxels=1e4)
"""The network of a trial, for which nnU-Net does not draw the same few voxels for ten seconds."""


def main() -> None:
    """Run every point that is not there yet, the shortest first, and write what there is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("manifest", type=Path, nargs="?")
    parser.add_argument("store", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, help="folder of the runs; with --smoke may be left out")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 2, 5, 15, 60])
    parser.add_argument("--labels", type=int, default=5, help="labelled patients that train")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="each draws patients")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--test", type=float, default=0.34, help="share, if the manifest has none")
    parser.add_argument("--smoke", action="store_true", help="seconds; write no result")
    given = parser.parse_args()
    if given.smoke:
        with tempfile.TemporaryDirectory() as folder:
            given.out = given.out or Path(folder)
            given.labels, given.minutes, given.seeds = 2, [0.01], [0]
            given.manifest, given.store = tiny(given.out)
            print(json.dumps(list(curve(given, SMALL))[-1]))
        return
    if not (given.manifest and given.store and given.out):
        parser.error("a manifest, a store and --out are needed, or --smoke")
    for rows in curve(given, Plan()):
        print(f"wrote {write('time_to_quality', command(given), rows)}", flush=True)


def command(given: argparse.Namespace) -> str:
    """Return what was run, without the folders."""
    minutes, seeds = (" ".join(f"{n:g}" for n in some) for some in (given.minutes, given.seeds))
    return (
        "python benchmarks/time_to_quality.py MANIFEST STORE --out FOLDER "
        f"--labels {given.labels} --minutes {minutes} --seeds {seeds} --arms {' '.join(given.arms)}"
    )


def tiny(folder: Path) -> tuple[Path, Path]:
    """Make a few small patients; return their manifest and store."""
    wanted = {"patients": 6, "size": "tiny", "test_fraction": 0.34, "negative_share": 0}
    manifest = write_cohort(folder / "cohort", validate(PhantomSettings, wanted))
    spacing = validate(PrepareSettings, {"spacing": (8, 8, 8)})
    prepare(manifest, folder / "store", spacing)
    return manifest, folder / "store"


def curve(given: argparse.Namespace, plan: Plan) -> Iterator[list[dict[str, Any]]]:
    """Run every point; after each length return the rows of all that is there."""
    point_nnunet(given.out / "nnunet")
    runs: list[dict[str, Any]] = []
    longest = max(given.minutes)
    for seed in given.seeds:
        for minutes in sorted(given.minutes):
            budget, nnunet = Budget(minutes, time.process_time), given.out / "nnunet"
            setup = Setup(given.manifest, given.store, nnunet, budget, given.test, plan=plan)
            folder = given.out / f"n{given.labels}-seed{seed}" / f"{minutes:g}min"
            arms = [arm for arm in given.arms if arm != "nnunet-own" or minutes == longest]
            for arm, found in points(setup, folder, arms, given.labels, seed):
                runs.append({"arm": arm, "minutes": minutes, "seed": seed, **found})
                show = {k: v for k, v in runs[-1].items() if k not in ("cases", "cohort")}
                print(json.dumps(show), file=sys.stderr, flush=True)
            yield table(runs, given.labels)


def points(
    setup: Setup, folder: Path, arms: Sequence[str], labels: int, seed: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return what each arm measured with one budget and one draw of labelled patients."""
    # hilum draws the patients, so it always runs.
    first = hilum(setup, folder / "hilum", settings_of(setup, labels, seed))
    split = read_json(folder / "hilum" / "run" / "split.json")
    for arm in arms:
        if arm == "hilum":
            yield arm, first
        elif arm == "hilum-raw":
            yield arm, most_probable(folder / "hilum")
        elif arm == "segresnet":
            yield arm, segresnet(setup, folder / arm, split, seed)
        else:
            yield arm, nnunet(setup, folder / arm, split, arm == "nnunet")


if __name__ == "__main__":
    main()
