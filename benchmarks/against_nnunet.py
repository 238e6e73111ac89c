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
import csv
import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "offline")

import torch
from cohort import point_nnunet
from timing import RESULTS, machine

from hilum.core.case import Case
from hilum.core.files import read_json, write_json
from hilum.core.settings import load, validate
from hilum.datasets.manifest import read_manifest, write_manifest
from hilum.datasets.nnunet_export import NnunetExport, export_nnunet
from hilum.datasets.store.case_store import CaseStore
from hilum.evaluation.statistics.comparison import paired_comparison
from hilum.finetune.run import finetune
from hilum.finetune.settings import FinetuneSettings
from hilum.segmenter.assessment.evaluate import evaluate
from hilum.segmenter.prediction.cohort import predict

torch.set_num_threads(1)
DATASET, PROCESSES = "Dataset902_Against", "nnUNet_n_proc_DA"
METRICS = ("dice", "hd95_mm", "nsd_2mm", "lesion_sensitivity", "lesion_precision")
FEATURES, PATCH, BATCH = (16, 32, 64, 128), (32, 32, 32), 3
SETTINGS: dict[str, Any] = {
    "encoder": {"name": "resenc", "features": list(FEATURES), "blocks": [1, 1, 1, 1]},
    "fusion": {"name": "early"},
    "patch": PATCH,
    "foreground": 0.5,
    "augmentation": {"dropout": 0.0, "misalign_p": 0},
    "transfer": {"encoder_rate": 1.0},
    "evaluate_test": False,
    "pictures": 0,
    "trainer": {"steps": 100_000, "batch_size": BATCH, "learning_rate": 1e-3},
}
RATE, POWER = 1e-2, 0.9  # nnU-Net's


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
    rows = []
    for labels in given.labels:
        for seed in given.seeds:
            folder = given.out / f"n{labels}-seed{seed}"
            for arm, found in arms(given, folder, labels, seed).items():
                rows.append({"labels": labels, "seed": seed, "arm": arm, **found})
            _write(given, rows)


def arms(given: argparse.Namespace, folder: Path, labels: int, seed: int) -> dict[str, Any]:
    """Return what each arm measured for one draw of labelled patients."""
    first = hilum(given, folder / "scratch", labels, seed, None)
    split = read_json(folder / "scratch" / "run" / "split.json")
    manifest = folder / "manifest.csv"
    cases = _cases(given.manifest, split)
    write_manifest(manifest, cases)
    found = {"hilum, from scratch": first}
    if given.encoder:
        found["hilum, pretrained"] = hilum(
            given, folder / "pretrained", labels, seed, given.encoder
        )
    if "own" not in given.skip:
        found["nnU-Net, its own plan"] = nnunet(given, folder / "own", manifest, split, False)
    if "ours" not in given.skip:
        found["nnU-Net, hilum's plan"] = nnunet(given, folder / "ours", manifest, split, True)
    return found


def hilum(
    given: argparse.Namespace, folder: Path, labels: int, seed: int, encoder: Path | None
) -> dict[str, Any]:
    """Fine-tune for the minutes, predict the test patients, evaluate."""
    minutes = {"minutes": given.minutes, "validate_every": 100_000, "save_every": 100_000}
    settings = load(
        FinetuneSettings,
        [],
        [],
        **SETTINGS
        | {
            "store": str(given.store),
            "seed": seed,
            "split": {"test": given.test, "labels": labels, "draw": seed, "validation": 2},
            "trainer": SETTINGS["trainer"] | minutes,
            "init_from": str(encoder) if encoder else None,
        },
    )
    run = folder / "run"
    finetune(settings, run)
    split = read_json(run / "split.json")
    test = folder / "test.csv"
    write_manifest(test, [c for c in _cases(given.manifest, split) if c.split == "test"])
    if not (folder / "evaluation" / "cases.csv").exists():
        predict(run / "segmenter", test, folder / "masks", pictures=False, fast=False)
        evaluate(folder / "masks", test, folder / "evaluation")
    return _result(folder, read_json(run / "summary.json")["steps"])


def nnunet(
    given: argparse.Namespace, folder: Path, manifest: Path, split: dict[str, Any], ours: bool
) -> dict[str, Any]:
    """Plan, preprocess, train for the minutes, predict and evaluate with nnU-Net's own code."""
    steps = folder / "steps.json"
    if not (folder / "evaluation" / "cases.csv").exists():
        trainer = _trainer(given, manifest, split, ours)
        count = _train(trainer, 60 * given.minutes)
        cases = [case for case in read_manifest(manifest) if case.split == "test"]
        _predict(trainer, given.out / "nnunet", folder / "masks", cases)
        test = folder / "test.csv"
        write_manifest(test, cases)
        evaluate(folder / "masks", test, folder / "evaluation")
        plan = trainer.configuration_manager.configuration
        kept = {k: plan[k] for k in ("spacing", "patch_size", "batch_size")}
        write_json(steps, {"steps": count, "plan": json.loads(json.dumps(kept, default=list))})
    found = read_json(steps)
    return _result(folder, found["steps"]) | {"plan": found["plan"]}


def _trainer(given: argparse.Namespace, manifest: Path, split: dict[str, Any], ours: bool) -> Any:
    """Export the labelled patients, plan, preprocess; return nnU-Net's trainer, initialised."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    number, base = int(DATASET[7:10]), given.out / "nnunet"
    for part in ("raw", "preprocessed", "results"):
        shutil.rmtree(base / part / DATASET, ignore_errors=True)
    # nnU-Net wants every channel of every case: those of the store, whatever else a patient has.
    wanted = {"folds": 0, "modalities": CaseStore(given.store).modalities}
    export_nnunet(manifest, base / "raw" / DATASET, validate(NnunetExport, wanted))
    os.environ[PROCESSES] = "1"  # the planner asks as many threads of torch
    extract_fingerprints([number], num_processes=1, verbose=False)
    spacing = CaseStore(given.store).spacing if ours else None
    name = plan_experiments([number], overwrite_target_spacing=spacing)  # pyright: ignore[reportArgumentType]
    file = base / "preprocessed" / DATASET / f"{name}.json"
    plans = json.loads(file.read_text())
    if ours:
        _as_ours(plans["configurations"]["3d_fullres"])
        file.write_text(json.dumps(plans))
    torch.set_num_threads(1)
    preprocess([number], configurations=("3d_fullres",), num_processes=(1,))
    fold = {"train": split["train"], "val": split["validation"]}
    (file.parent / "splits_final.json").write_text(json.dumps([fold]))
    about = json.loads((base / "raw" / DATASET / "dataset.json").read_text())
    os.environ[PROCESSES] = "0"  # patches are read and augmented in this one thread, as hilum's
    torch.manual_seed(0)
    trainer = nnUNetTrainer(
        plans | {"continue_training": False}, "3d_fullres", 0, about, torch.device("cpu")
    )
    trainer.on_train_start()
    return trainer


def _as_ours(plan: dict[str, Any]) -> None:
    """Give a configuration of nnU-Net the patch, batch and widths of hilum's network."""
    stages = len(FEATURES)
    plan |= {"patch_size": list(PATCH), "batch_size": BATCH}
    plan["architecture"]["arch_kwargs"] |= {
        "n_stages": stages,
        "features_per_stage": list(FEATURES),
        "kernel_sizes": [[3, 3, 3]] * stages,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
    }


def _train(trainer: Any, seconds: float) -> int:
    """Train with nnU-Net's own step and loader until the time is over; return the steps."""
    trainer.network.train()
    began, steps = time.monotonic(), 0
    while (share := (time.monotonic() - began) / seconds) < 1:
        for group in trainer.optimizer.param_groups:
            group["lr"] = RATE * (1 - share) ** POWER
        trainer.train_step(next(trainer.dataloader_train))
        steps += 1
    trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
    return steps


def _predict(trainer: Any, folder: Path, out: Path, cases: list[Case]) -> None:
    """Predict the exported test images, without mirror images, as hilum does."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False, verbose=False
    )
    predictor.initialize_from_trained_model_folder(
        trainer.output_folder_base, (0,), "checkpoint_final.pth"
    )
    out.mkdir(parents=True, exist_ok=True)
    images = folder / "raw" / DATASET / "imagesTs"
    files = [sorted(str(f) for f in images.glob(f"{case.id}_0*.nii.gz")) for case in cases]
    predictor.predict_from_files_sequential(
        files, [str(out / case.id) for case in cases], False, True
    )
    torch.set_num_threads(1)


def _cases(manifest: Path, split: dict[str, Any]) -> list[Case]:
    """Return the labelled and the test patients, each marked as such."""
    parts = dict.fromkeys((*split["train"], *split["validation"]), "train")
    parts |= dict.fromkeys(split["test"], "test")
    return [replace(c, split=parts[c.id]) for c in read_manifest(manifest) if c.id in parts]


def _result(folder: Path, steps: int) -> dict[str, Any]:
    with (folder / "evaluation" / "cases.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["class"] == "1"]
    cases = {row["patient"]: {m: float(row[m]) for m in METRICS if row.get(m)} for row in rows}
    cohort = read_json(folder / "evaluation" / "cohort.json")
    return {"steps": steps, "cases": cases, "cohort": cohort}


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
    values = _values(own, arm, metric)
    base = _values(own, "nnU-Net, hilum's plan", metric)
    if not values or not base:
        return {}
    found = paired_comparison(values, base)
    return {
        "mean": round(found.mean_a, 4),
        "difference": round(found.difference, 4),
        "low": round(found.ci_low, 4),
        "high": round(found.ci_high, 4),
        "p": round(found.p_value, 4),
        "patients": found.n_patients,
        "seeds": found.n_seeds,
    }


def _values(own: list[dict[str, Any]], arm: str, metric: str) -> dict[str, dict[int, float]]:
    values: dict[str, dict[int, float]] = {}
    for row in own:
        if row["arm"] != arm:
            continue
        for patient, found in row["cases"].items():
            if metric in found:
                values.setdefault(patient, {})[row["seed"]] = found[metric]
    return values


if __name__ == "__main__":
    main()
