"""nnU-Net's arm of a comparison: its own planning, preprocessing, step, loader and predictor."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing import dummy
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from arm import Plan, Setup, cases_of, evaluated, test_manifest, train

from hilum.core.case import Case
from hilum.core.files import read_json, write_json
from hilum.core.settings import validate
from hilum.datasets.manifest import write_manifest
from hilum.datasets.nnunet_export import NnunetExport, export_nnunet
from hilum.datasets.store.case_store import CaseStore

DATASETS = {True: "Dataset902_Against", False: "Dataset903_AgainstOwn"}
"""With hilum's plan, and with nnU-Net's own."""
PROCESSES = "nnUNet_n_proc_DA"
RATE, POWER = 1e-2, 0.9  # nnU-Net's


def nnunet(setup: Setup, folder: Path, split: dict[str, Any], ours: bool) -> dict[str, Any]:
    """Plan, preprocess, train for the minutes, predict and evaluate with nnU-Net's own code.

    Its learning rate falls with the share of the budget that is used, as hilum's does. Patients
    that the last call with the same kind of plan preprocessed are not preprocessed again.
    """
    done = folder / "steps.json"
    if not (folder / "evaluation" / "cases.csv").exists():
        cases = cases_of(setup.manifest, split)
        manifest = write_manifest(folder / "manifest.csv", cases)
        plans = _preprocessed(setup, manifest, split, ours)
        trainer = _trainer(setup, plans, ours)

        def step(share: float) -> None:
            for group in trainer.optimizer.param_groups:
                group["lr"] = RATE * (1 - share) ** POWER
            trainer.train_step(next(trainer.dataloader_train))

        trainer.network.train()
        took = train(step, setup.budget)
        trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
        images = setup.nnunet / "raw" / DATASETS[ours] / "imagesTs"
        _predict(trainer, images, folder / "masks", [c for c in cases if c.split == "test"])
        test_manifest(folder, cases)
        plan = trainer.configuration_manager.configuration
        kept = {k: plan[k] for k in ("spacing", "patch_size", "batch_size")}
        write_json(done, took | {"plan": json.loads(json.dumps(kept, default=list))})
        evaluated(folder)
    return read_json(done) | evaluated(folder)


def _preprocessed(
    setup: Setup, manifest: Path, split: dict[str, Any], ours: bool
) -> dict[str, Any]:
    """Export the labelled patients, plan and preprocess; return the plans."""
    from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprint_dataset,
        plan_experiments,
        preprocess,
    )

    name, base, store = DATASETS[ours], setup.nnunet, CaseStore(setup.store)
    number = int(name[7:10])
    file = base / "preprocessed" / name / "nnUNetPlans.json"
    done = base / "preprocessed" / name / "hilum.json"
    key = json.loads(json.dumps([store.fingerprint, asdict(setup.plan), split]))
    if done.exists() and read_json(done) == key:
        return read_json(file)
    for part in ("raw", "preprocessed"):
        shutil.rmtree(base / part / name, ignore_errors=True)
    # nnU-Net wants every channel of every case: those of the store, whatever else a patient has.
    wanted = {"folds": 0, "modalities": store.modalities}
    export_nnunet(manifest, base / "raw" / name, validate(NnunetExport, wanted))
    os.environ[PROCESSES] = "1"  # the planner asks as many threads of torch

    class Fingerprint(fingerprint_extractor.DatasetFingerprintExtractor):
        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, **more)
            self.num_foreground_voxels_for_intensitystats = setup.plan.voxels

    with threads_for_processes():
        extract_fingerprint_dataset(number, Fingerprint, num_processes=1, verbose=False)
        spacing = store.spacing if ours else None
        plan_experiments([number], overwrite_target_spacing=spacing)  # pyright: ignore[reportArgumentType]
        plans = read_json(file)
        if ours:
            _as_ours(plans["configurations"]["3d_fullres"], setup.plan)
            write_json(file, plans)
        torch.set_num_threads(1)
        preprocess([number], configurations=("3d_fullres",), num_processes=(1,))
    fold = {"train": split["train"], "val": split["validation"]}
    write_json(file.parent / "splits_final.json", [fold])
    write_json(done, key)
    return plans


@contextmanager
def threads_for_processes() -> Iterator[None]:
    """Let nnU-Net work in threads where it starts processes, each of which would import torch."""
    with patch.object(multiprocessing, "get_context", lambda method=None: dummy):
        yield


def _trainer(setup: Setup, plans: dict[str, Any], ours: bool) -> Any:
    """Return nnU-Net's trainer of a new network, initialised."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    name, base = DATASETS[ours], setup.nnunet
    shutil.rmtree(base / "results" / name, ignore_errors=True)
    about = read_json(base / "raw" / name / "dataset.json")
    os.environ[PROCESSES] = "0"  # patches are read and augmented in this one thread, as hilum's
    torch.manual_seed(0)
    trainer = nnUNetTrainer(
        plans | {"continue_training": False}, "3d_fullres", 0, about, torch.device("cpu")
    )
    trainer.on_train_start()
    return trainer


def _as_ours(plan: dict[str, Any], own: Plan) -> None:
    """Give a configuration of nnU-Net the patch, batch and widths of hilum's network."""
    stages = len(own.features)
    plan |= {"patch_size": list(own.patch), "batch_size": own.batch}
    plan["architecture"]["arch_kwargs"] |= {
        "n_stages": stages,
        "features_per_stage": list(own.features),
        "kernel_sizes": [[3, 3, 3]] * stages,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
    }


def _predict(trainer: Any, images: Path, out: Path, cases: list[Case]) -> None:
    """Predict the exported test images, without mirror images, as hilum does."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False, verbose=False
    )
    predictor.initialize_from_trained_model_folder(
        trainer.output_folder_base, (0,), "checkpoint_final.pth"
    )
    out.mkdir(parents=True, exist_ok=True)
    files = [sorted(str(f) for f in images.glob(f"{case.id}_0*.nii.gz")) for case in cases]
    predictor.predict_from_files_sequential(
        files, [str(out / case.id) for case in cases], False, True
    )
    torch.set_num_threads(1)
