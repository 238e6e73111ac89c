"""Dice over minutes: every arm runs, the budget is the processor's, numbers are those of masks."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.optimizers.lr_scheduler import WarmupCosineSchedule

from hilum.core.settings import validate
from hilum.training.checkpoints import Checkpoints
from hilum.training.settings import TrainerSettings
from hilum.training.time_limit import TimeBudget

from ..warm import python

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "time_to_quality.py"
RESULTS = SCRIPT.parent / "results"
NAMES = {
    "hilum": "hilum, from scratch",
    "hilum-raw": "hilum, most probable class",
    "nnunet": "nnU-Net, hilum's plan",
    "segresnet": "Auto3DSeg SegResNet",
}
"""What a trial runs: nnU-Net's own plan would take as long as all others here."""


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return what imports a file of the benchmarks."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    before = set(sys.modules)
    yield importlib.import_module
    for name in (
        "arm",
        "arm_hilum",
        "arm_nnunet",
        "arm_segresnet",
        "quality_curve",
        "time_to_quality",
    ):
        if name not in before:
            sys.modules.pop(name, None)


def smoke(out: Path) -> list[dict[str, Any]]:
    command = [python(), "-W", "ignore", str(SCRIPT), "--smoke", "--out", str(out)]
    command += ["--arms", *NAMES]
    own = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def dice_of(masks: Path, cases: Path) -> dict[str, float]:
    """Return the Dice of each patient's mask, read by nibabel."""
    found = {}
    for file in sorted(masks.glob("*.nii.gz")):
        name = file.name.removesuffix(".nii.gz")
        mask, label = nib.load(file), nib.load(cases / name / "label.nii.gz")
        assert np.allclose(mask.affine, label.affine, atol=1e-4)
        a, b = (np.asarray(image.dataobj) > 0 for image in (mask, label))
        found[name] = 2 * (a & b).sum() / (a.sum() + b.sum())
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_arm_trains_predicts_and_is_not_done_again(tmp_path: Path, load: Any) -> None:
    pytest.importorskip("nnunetv2")
    before = {file.name: file.stat().st_mtime_ns for file in RESULTS.glob("*.json")}
    rows = smoke(tmp_path)
    assert [(row["arm"], row["minutes"]) for row in rows] == [(n, 0.01) for n in NAMES.values()]
    draw = tmp_path / "n2-seed0"
    split = json.loads((draw / "0.01min" / "hilum" / "run" / "split.json").read_text())
    for row in rows:
        # The budget is the processor's: it is used up, and a step or a start beyond it is short.
        assert row["minutes"] <= row["processor minutes"][0] + 0.005
        assert row["processor minutes"][0] <= 1.05 * row["wall minutes"][0] + 0.01
        arm = next(arm for arm, name in NAMES.items() if name == row["arm"])
        folder = draw / f"{row['minutes']:g}min" / arm.removesuffix("-raw")
        masks = folder / ("masks_raw" if arm == "hilum-raw" else "masks")
        dice = dice_of(masks, tmp_path / "cohort" / "cases")
        assert sorted(dice) == sorted(split["test"])
        assert row["dice"] == pytest.approx(np.mean(list(dice.values())), abs=2e-4)
    file = tmp_path / "nnunet" / "preprocessed" / "Dataset902_Against" / "splits_final.json"
    assert json.loads(file.read_text()) == [{"train": split["train"], "val": split["validation"]}]
    plans = {row["arm"]: row["plan"] for row in rows if "plan" in row}
    assert plans["nnU-Net, hilum's plan"]["patch_size"] == [16, 16, 16]
    made = {file: file.stat().st_mtime_ns for file in draw.rglob("*.nii.gz")}
    script, words = load("time_to_quality"), {"labels": 2, "minutes": [0.01], "seeds": [0]}
    there = {"manifest": tmp_path / "cohort" / "manifest.csv", "store": tmp_path / "store"}
    given = argparse.Namespace(**words, **there, out=tmp_path, arms=list(NAMES), test=0.34)
    *_, again = script.curve(given, script.SMALL)
    assert json.loads(json.dumps(again)) == rows
    assert made == {file: file.stat().st_mtime_ns for file in draw.rglob("*.nii.gz")}
    assert before == {file.name: file.stat().st_mtime_ns for file in RESULTS.glob("*.json")}


def test_the_rate_is_that_of_the_template_s_schedule(load: Any) -> None:
    module: ModuleType = load("arm_segresnet")
    optimiser = torch.optim.AdamW([torch.zeros(1)], lr=2e-4)
    schedule = WarmupCosineSchedule(optimiser, 3, 416, warmup_multiplier=0.1)
    for epoch in range(417):
        assert module.rate(epoch / 416) == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)
        optimiser.step()
        schedule.step()


def test_training_stops_with_its_own_clock(load: Any) -> None:
    arm: ModuleType = load("arm")
    clock = iter([100.0, 100, 130, 160, 215, 219, 220])
    shares: list[float] = []
    took = arm.train(shares.append, arm.Budget(2, lambda: next(clock)))
    assert took["steps"] == 5
    assert shares == pytest.approx([0, 0.25, 0.5, 115 / 120, 119 / 120])
    assert took["wall_minutes"] < 0.1


def test_hilum_s_budget_goes_by_the_clock_that_is_given(load: Any) -> None:
    module, arm = load("arm_hilum"), load("arm")
    times = iter([10.0, 40.0])
    settings = validate(TrainerSettings, {"minutes": 1})
    keeper = object.__new__(Checkpoints)  # of a run, which a budget asks when it resumes one
    with module.counting(arm.Budget(1, lambda: next(times))):
        assert TimeBudget(settings, keeper).elapsed == 30
    assert TimeBudget(settings, keeper).elapsed < 5  # and by the wall's again


def test_rows_are_those_counted_by_hand(load: Any) -> None:
    module: ModuleType = load("quality_curve")
    dice = {
        "hilum": [{"a": 0.5, "b": 0.7, "c": 0.9}, {"a": 0.7, "b": 0.7, "c": 0.4}],
        "nnunet": [{"a": 0.1, "b": 0.5}, {"a": 0.3, "b": 0.6}],
    }
    runs = [
        {"arm": arm, "minutes": 2, "seed": seed, "steps": 7 + seed}
        | {"processor_minutes": 2.01, "wall_minutes": 2.5}
        | {"cases": {p: {"dice": v, "lesion_sensitivity": 0.5} for p, v in own.items()}}
        for arm, seeds in dice.items()
        for seed, own in enumerate(seeds)
    ]
    # Of two patients without nodes one is marked, by one run.
    runs[0]["cases"] |= {"d": {"dice": 0.0}, "e": {"dice": 1.0}}
    runs[1]["cases"] |= {"d": {"dice": 1.0}, "e": {"dice": 1.0}}
    runs.append({**runs[2], "minutes": 5, "seed": 0})  # other minutes are not compared with
    rows = {(row["arm"], row["minutes"]): row for row in module.table(runs, 4)}
    ours, theirs = (rows[NAMES[arm], 2] for arm in ("hilum", "nnunet"))
    assert ours["dice"] == pytest.approx((0.6 + 0.7 + 0.65) / 3)
    assert ours["patients"] == 3
    assert ours["without nodes"] == [2, 2]
    assert ours["marked without nodes"] == [1, 0]
    low, high = ours["dice, 95 %"]
    assert low < ours["dice"] < high
    assert ours["steps"] == [7, 8]
    assert ours["difference"] == pytest.approx((0.4 + 0.15) / 2)
    assert theirs["dice"] == pytest.approx((0.2 + 0.55) / 2)
    assert "difference" not in theirs
    assert rows[NAMES["nnunet"], 5]["seeds"] == [0]


def test_a_mask_of_everything_counts_for_what_it_is(load: Any, tmp_path: Path) -> None:
    arm: ModuleType = load("arm")
    shape, affine = (12, 10, 8), np.diag([3.0, 2, 2, 1])
    label = np.zeros(shape, np.uint8)
    label[4:7, 4:7, 3:6] = 1
    mask = np.ones(shape, np.uint8)
    mask[8:10, 4:7, 3:6] = 0  # a mask without any hole would not be taken for an inverted one
    for name, array in (("label", label), ("ct", label.astype(np.int16)), ("m", mask)):
        (tmp_path / name).mkdir()
        nib.save(nib.Nifti1Image(array, affine), tmp_path / name / "case.nii.gz")
    text = "case,patient,ct,label,split\ncase,p,ct/case.nii.gz,label/case.nii.gz,test\n"
    (tmp_path / "test.csv").write_text(text)
    found = arm.evaluated(tmp_path, "m")["cases"]["p"]
    assert found["dice"] == pytest.approx(2 * 27 / (27 + int(mask.sum()) - 1), abs=1e-5)
