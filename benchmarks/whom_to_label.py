"""Where a chosen patient stands among patients drawn at random, from the cells of a study.

    hilum study collect recipes/study/whom_to_label.yaml --out work/whom_to_label
    python benchmarks/whom_to_label.py work/whom_to_label [--out TABLE.csv] [--store STORE]

Each chosen arm is held against the draws of its random arm on the same test patients. Percentile:
which share of the draws has a lower mean (ties count half); once with the same training seed as
theirs, once with the mean over the seeds of the choice. Difference: the choice, mean of its seeds,
less each draw, with the 95 % interval of two-way random effects, for other patients and other
draws. Deviations: between draws with the same seed, and between seeds of the same patients, so that
what training does by chance is told from the choice. Works on a study that is not done yet.

With the store also what was labelled: number and volume of the nodes of each single patient that
trained, and their rank correlation with the Dice over the random draws. A choice may be a good one
because it happens to hold many nodes. With a network too: what it expects of these patients before
anybody labels them, number and volume of the components at its operating point.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from scipy import stats
from study_runs import by_run, write

from hilum.core.settings import read_yaml
from hilum.core.side_files import read_side
from hilum.datasets.store.case_store import CaseStore, StoredCase
from hilum.evaluation.metrics.instances import Instances
from hilum.evaluation.statistics.random_effects import estimate
from hilum.segmenter.ensemble import load_predictor
from hilum.segmenter.inference.predict_case import predict_case
from hilum.segmenter.operating.apply import mask_of
from hilum.segmenter.predictor import Predictor

PAIRS = (("typical", "random"), ("coverage", "random"), ("two typical", "two random"))
METRICS = ("dice", "voxel_average_precision")
SCANNERS = {"all": "", "a": "phantom_a_", "c": "phantom_c_"}
Runs = Mapping[tuple[str, str], Mapping[str, float]]
"""Value of each patient by draw and seed."""


def read(file: Path, metric: str, prefix: str) -> dict[str, Runs]:
    """Return a metric by arm, run and patient: the mean over a patient's cases."""
    return by_run(file, metric, "whom", lambda row: (row["split.draw"], row["seed"]), prefix)


def percentile(value: float, others: Sequence[float]) -> float:
    """Return the share of the others below a value, in percent; ties count half."""
    below = sum((other < value) + 0.5 * (other == value) for other in others)
    return 100 * below / len(others)


def deviation(groups: Mapping[object, Sequence[float]]) -> float:
    """Return the standard deviation within groups, pooled; NaN if none has two."""
    several = [np.asarray(own) for own in groups.values() if len(own) > 1]
    freedom = sum(len(own) - 1 for own in several)
    squares = sum(float(((own - own.mean()) ** 2).sum()) for own in several)
    return (squares / freedom) ** 0.5 if freedom else float("nan")


def compare(chosen: Runs, drawn: Runs, seed: str) -> dict[str, float]:
    """Return where the choice stands among the draws; see the head of this file."""
    draws = {draw: own for (draw, own_seed), own in drawn.items() if own_seed == seed}
    seeds = {own_seed: own for (_, own_seed), own in chosen.items()}
    patients = sorted(set.intersection(*(set(own) for own in [*draws.values(), *seeds.values()])))

    def mean(own: Mapping[str, float]) -> float:
        return float(np.mean([own[name] for name in patients]))

    others = [mean(own) for own in draws.values()]
    by_seed = {name: mean(own) for name, own in seeds.items()}
    whole = float(np.mean([*by_seed.values()]))
    groups: dict[object, list[float]] = {"chosen": [*by_seed.values()]}
    for (draw, _), own in drawn.items():
        if set(patients) <= set(own):
            groups.setdefault(draw, []).append(mean(own))
    own_mean = np.array([np.mean([own[p] for own in seeds.values()]) for p in patients])
    against = np.array([[own[p] for own in draws.values()] for p in patients])
    apart = estimate(own_mean[:, None] - against)
    return {
        "patients": len(patients),
        "draws": len(draws),
        "seeds": len(seeds),
        "chosen": whole,
        "random": float(np.mean(others)),
        "least": min(others),
        "median": float(np.median(others)),
        "most": max(others),
        "percentile_same_seed": percentile(by_seed.get(seed, float("nan")), others),
        "percentile_mean_of_seeds": percentile(whole, others),
        "difference": apart.mean,
        "low": apart.low,
        "high": apart.high,
        "deviation_of_draws": deviation({"draws": others}),
        "deviation_of_seeds": deviation(groups),
    }


def labelled(
    study: Path, store: CaseStore, seed: str, network: Predictor | None = None
) -> list[dict[str, object]]:
    """Return a row per run of one labelled patient: arm, draw, case, Dice, nodes and their ml."""
    runs = read(study / "results.csv", "dice", "")
    rows: list[dict[str, object]] = []
    for file in sorted((study / "finetune").glob("*/split.json")):
        about = read_yaml(file.parent / "config.yaml")
        names, split = read_side(file)["train"], about["split"]
        arm = "random" if split["choose"] is None else Path(split["choose"]).stem.split("_")[0]
        run = (str(split["draw"]), str(about["seed"]))
        if len(names) != 1 or run[1] != seed or run not in runs.get(arm, {}):
            continue
        case = store[names[0]]
        nodes = Instances.of(np.asarray(case.label))
        rows.append(
            {
                "arm": arm,
                "draw": run[0],
                "case": case.id,
                "dice": float(np.mean([*runs[arm][run].values()])),
                "nodes": nodes.count,
                "ml": float(nodes.sizes.sum() * case.grid.voxel_ml),
            }
            | ({} if network is None else expected(case, network))
        )
    return rows


def expected(case: StoredCase, network: Predictor) -> dict[str, object]:
    """Return number and ml of what a network finds in a case before it is labelled."""
    mask = mask_of(predict_case(network, case), case, network.config.operating_point)
    found = Instances.of(mask)
    return {
        "nodes_expected": found.count,
        "ml_expected": float(found.sizes.sum() * case.grid.voxel_ml),
    }


def choices(study: Path, seed: str) -> list[dict[str, object]]:
    """Return a row per metric, scanner and choice whose draws are there."""
    rows: list[dict[str, object]] = []
    for metric in METRICS:
        for scanner, prefix in SCANNERS.items():
            arms = read(study / "results.csv", metric, prefix)
            for chosen, drawn in PAIRS:
                if chosen not in arms or not any(s == seed for _, s in arms.get(drawn, {})):
                    continue
                about = {"choice": chosen, "against": drawn, "metric": metric, "scanner": scanner}
                rows.append(about | compare(arms[chosen], arms[drawn], seed))
    return rows


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--out", type=Path, help="CSV with a row per choice, scanner and metric")
    parser.add_argument(
        "--store", type=Path, help="case store of the study: what was labelled, too"
    )
    parser.add_argument(
        "--network", type=Path, help="with a store: folder of the network whose proposals count"
    )
    parser.add_argument("--seed", default="0", help="training seed that all draws have")
    asked = parser.parse_args()
    rows = choices(asked.study, asked.seed)
    if not rows:
        raise SystemExit(f"{asked.study}: no choice and its draws are done yet")
    for row in rows:
        words = [f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()]
        print("  ".join(words))
    if asked.out:
        write(asked.out, rows)
    if asked.store:
        network = load_predictor(asked.network) if asked.network else None
        own = labelled(asked.study, CaseStore(asked.store), asked.seed, network)
        drawn = [row for row in own if row["arm"] == "random"]
        for name in list(own[0])[4:]:
            found = stats.spearmanr([row["dice"] for row in drawn], [row[name] for row in drawn])
            print(f"random draws, Dice against {name}: Spearman {found.statistic:.2f}")
        if asked.out:
            write(asked.out.with_name("patients.csv"), own)


if __name__ == "__main__":
    main()
