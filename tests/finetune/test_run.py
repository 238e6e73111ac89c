"""A run trains, resumes, tests, and leaves a segmenter folder; a finished one only says so."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import hilum.finetune.run as run_module
from hilum.core.checkpoints import EncoderConfig, save_encoder
from hilum.core.errors import DataError, RunError, SettingsError, Stopped, StoreError
from hilum.core.files import read_json
from hilum.core.registry import build
from hilum.core.seeds import derive
from hilum.core.settings import validate
from hilum.datasets.splits import make_split
from hilum.datasets.store.case_store import CaseStore
from hilum.encoders import ENCODERS
from hilum.finetune.data import nothing_to_draw
from hilum.finetune.ready import parts_of
from hilum.finetune.run import finetune
from hilum.finetune.settings import FinetuneSettings
from hilum.segmenter.prediction.cohort import predict
from hilum.segmenter.segmenter import Segmenter

ENCODER = {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]}
TRAINER = {
    "steps": 4,
    "batch_size": 1,
    "validate_every": 2,
    "save_every": 2,
    "log_every": 1,
    "precision": "32",
    "tracking": {"mode": "disabled"},
}


def settings(store: CaseStore, **changes: Any) -> FinetuneSettings:
    values: dict[str, Any] = {
        "store": str(store.path),
        "encoder": ENCODER,
        "patch": (8, 12, 16),
        "split": {"labels": 2, "validation": 1},
        "trainer": TRAINER,
        "inference": {"overlap": 0, "window": (16, 24, 32)},
        "pictures": 1,
    }
    return validate(FinetuneSettings, values | changes)


def quiet(text: str) -> None:
    """Say nothing."""


@pytest.mark.slow
def test_a_run_leaves_everything_that_a_study_reads(store: CaseStore, tmp_path: Path) -> None:
    out = tmp_path / "run"
    said: list[str] = []
    own = settings(store, robustness={"shifts": [0, 4], "scales": [1], "resolutions": [0]})
    folder = finetune(own, out, say=said.append)
    assert folder == out / "segmenter"
    assert Segmenter.from_pretrained(folder).modalities == ("ct", "pet")
    split = read_json(out / "split.json")
    assert len(split["train"]) == 2
    assert len(split["validation"]) == 1
    assert split["test"] == ["case_4", "case_5"]
    metrics = read_json(out / "test" / "metrics.json")
    assert list(metrics) == ["ct+pet", "ct", "pet"]
    assert list(metrics["ct+pet"]) == list(metrics["ct"]) == ["case_4", "case_5"]
    assert list(metrics["pet"]) == ["case_4"], "case_5 has no PET"
    assert metrics["ct"]["case_4"]["patient"] == "patient_4"
    assert metrics["ct+pet"]["case_5"] == metrics["ct"]["case_5"]
    assert 0 <= metrics["ct"]["case_4"]["metrics"]["dice"] <= 1
    with (out / "test" / "cases.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 5
    with (out / "robustness" / "robustness_cases.csv").open() as stream:
        matrix = {(row["row"], row["case"]): float(row["dice"]) for row in csv.DictReader(stream)}
    assert ("ct+pet, shift 4 mm", "case_4") in matrix
    assert matrix["ct", "case_5"] == pytest.approx(metrics["ct"]["case_5"]["metrics"]["dice"])
    scores = read_json(out / "test" / "scores.json")
    assert list(scores) == ["ct+pet", "ct", "pet"]
    near = scores["ct"]["voxels_near_foreground"]
    assert sum(near["count"]) > 0
    assert 0 <= near["ece"] <= 1
    for name in ("test/case_4.png", "test/case_5.png", "test/cohort.json", "DONE"):
        assert (out / name).is_file()
    assert len(list((out / "pictures").glob("*.png"))) == 2
    summary = read_json(out / "summary.json")
    assert summary["steps"] == 4
    assert summary["flops"] > 1e6
    assert summary["parameters"] == sum(
        t.numel() for t in load_file(folder / "model.safetensors").values()
    )
    assert "test/dice_ct+pet" in summary
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "val/dice" in row] == [2, 4]
    assert (out / "checkpoints" / "best.safetensors").is_file()
    assert (out / "checkpoints" / "last.ckpt").is_file()
    assert finetune(own, out, say=said.append) == folder
    assert said[-1] == f"{out} is done"
    with pytest.raises(RunError, match=r"other settings.*seed was 0, now 1"):
        finetune(settings(store, seed=1), out, say=quiet)


@pytest.mark.slow
@pytest.mark.parametrize("twice", [False, True])
def test_an_interrupted_run_ends_with_the_same_bits_wherever_the_store_lies(
    store: CaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, twice: bool
) -> None:
    """And whether or not stages of its encoder are computed again in the backward pass."""
    own = settings(store, evaluate_test=False, pictures=0)
    whole = finetune(own, tmp_path / "whole", say=quiet)
    encoder = {**ENCODER, "checkpoint_activations": twice}
    cut = settings(store, encoder=encoder, evaluate_test=False, pictures=0)
    from hilum.finetune import module as module_file

    step = module_file.FinetuneModule.training_step

    def failing(self: Any, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.trainer.global_step == 3:
            raise KeyError("power cut")
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(module_file.FinetuneModule, "training_step", failing)
        with pytest.raises(KeyError, match="power cut"):
            finetune(cut, tmp_path / "cut", say=quiet)
    # The store lies on another disk by then.
    moved = shutil.copytree(store.path, tmp_path / "moved")
    elsewhere = settings(CaseStore(moved), encoder=encoder, evaluate_test=False, pictures=0)
    again = finetune(elsewhere, tmp_path / "cut", say=quiet)
    for name, value in load_file(whole / "model.safetensors").items():
        assert torch.equal(value, load_file(again / "model.safetensors")[name]), name


def test_the_seed_decides_the_result(store: CaseStore, tmp_path: Path) -> None:
    own = {"evaluate_test": False, "split": {"labels": 1}}
    folders = [
        finetune(settings(store, seed=seed, **own), tmp_path / name, say=quiet)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    a, b, c = (load_file(folder / "model.safetensors") for folder in folders)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert any(not torch.equal(a[name], c[name]) for name in a)


def test_a_single_modality_run_needs_and_keeps_only_that_one(
    store: CaseStore, tmp_path: Path
) -> None:
    own = settings(store, fusion={"name": "single", "modality": "ct"}, split={"labels": 1})
    folder = finetune(own, tmp_path / "run", say=quiet)
    assert Segmenter.from_pretrained(folder).modalities == ("ct",)
    metrics = read_json(tmp_path / "run" / "test" / "metrics.json")
    assert metrics["ct+pet"] == metrics["ct"]
    assert metrics["pet"] == {}


def test_an_encoder_folder_is_loaded_reported_and_named(store: CaseStore, tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = build(ENCODERS, ENCODER, in_channels=2)
    about = {
        "architecture": ENCODER,
        "modalities": ("ct", "pet"),
        "spacing": (4, 4, 4),
        "patch": (8, 8, 8),
        "pretext": {"name": "masked_autoencoder"},
    }
    save_encoder(tmp_path / "encoder", encoder, validate(EncoderConfig, about))
    said: list[str] = []
    trainer = TRAINER | {"steps": 1, "learning_rate": 1e-9, "ema": 0}
    own = settings(
        store,
        encoder=None,
        fusion={"name": "late"},
        init_from=str(tmp_path / "encoder"),
        trainer=trainer,
        evaluate_test=False,
    )
    segmenter = Segmenter.from_pretrained(finetune(own, tmp_path / "run", say=said.append))
    report = read_json(tmp_path / "run" / "load_report.json")
    assert report["covered"] == 1
    assert set(report["encoders"]) == {"ct", "pet"}
    assert any("encoder pet: 100.0%" in line for line in said)
    assert any("nothing shows that no test patient is among them" in line for line in said)
    assert "masked_autoencoder" in (tmp_path / "run" / "segmenter" / "README.md").read_text()
    name = encoder.stem[0]
    stem = segmenter.encoders["pet"].state_dict()[name]
    assert torch.allclose(stem, encoder.state_dict()[name][:, 1:], atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"foreground": 0.5, "split": {"labels": 9}}, DataError, "patients need labels"),
        ({"modalities": ("ct", "pte")}, SettingsError, "must have 'pte', did you mean 'pet'"),
        ({"conditions": ("ct+pte",)}, SettingsError, "did you mean 'pet'"),
        ({"patch": (8, 12, 15)}, SettingsError, "use \\(8, 12, 16\\)"),
        ({"fusion": {"name": "erly"}}, SettingsError, "did you mean 'early'"),
    ],
)
def test_what_cannot_work_is_said_before_the_first_step(
    changes: dict[str, Any], error: type[Exception], message: str, store: CaseStore, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        finetune(settings(store, **changes), tmp_path / "run", say=quiet)
    assert not (tmp_path / "run").exists(), "a mended setting may use the same folder"


def test_no_store_is_a_clear_error(store: CaseStore, tmp_path: Path) -> None:
    own = settings(store).model_copy(update={"store": str(tmp_path / "none")})
    with pytest.raises(StoreError, match=r"store\.json is missing"):
        finetune(own, tmp_path / "run", say=quiet)


@pytest.mark.slow
def test_a_run_that_was_killed_while_testing_only_tests_again(
    store: CaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hilum.finetune import assessing

    def failing(*args: Any, **more: Any) -> None:
        raise Stopped("SIGTERM")

    own, out = settings(store, pictures=0), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(assessing, "assess", failing)
        with pytest.raises(Stopped):
            finetune(own, out, say=quiet)
    assert read_json(out / "status.json")["state"] == "interrupted"
    before = (out / "segmenter" / "model.safetensors").read_bytes()
    finetune(own, out, say=quiet)
    assert (out / "segmenter" / "model.safetensors").read_bytes() == before
    assert (out / "test" / "metrics.json").is_file()
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert sorted(set(steps)) == [1, 2, 3, 4]


def test_the_frozen_phase_leaves_the_encoder_alone(store: CaseStore, tmp_path: Path) -> None:
    own = settings(
        store,
        transfer={"decoder_first": 0.75},
        trainer=TRAINER | {"steps": 3, "ema": 0, "learning_rate": 0.1},
        split={"labels": 1},
        evaluate_test=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(0, "weights"))
        start = build(ENCODERS, ENCODER, in_channels=2).state_dict()
    short = own.model_copy(
        update={"transfer": own.transfer.model_copy(update={"decoder_first": 0.99})}
    )
    frozen = Segmenter.from_pretrained(finetune(short, tmp_path / "a", say=quiet))
    thawed = Segmenter.from_pretrained(finetune(own, tmp_path / "b", say=quiet))
    assert all(
        torch.equal(value, start[name])
        for name, value in frozen.encoders["all"].state_dict().items()
    )
    assert any(
        not torch.equal(value, start[name])
        for name, value in thawed.encoders["all"].state_dict().items()
    )


def test_validation_on_patches_works_too(store: CaseStore, tmp_path: Path) -> None:
    own = settings(store, validate_on="patches", evaluate_test=False)
    finetune(own, tmp_path / "run", say=quiet)
    assert "best" in read_json(tmp_path / "run" / "summary.json")


@pytest.mark.slow
def test_two_cases_can_be_learned_by_heart(
    store: CaseStore, manifest: Path, tmp_path: Path
) -> None:
    """Dice on new patients rises above 0.8 within 80 steps, and the raw scans agree."""
    trainer = TRAINER | {"steps": 80, "batch_size": 2, "learning_rate": 5e-3, "validate_every": 40}
    own = settings(
        store,
        patch=(16, 16, 16),
        split={"labels": 2, "validation": 1},
        trainer=trainer,
        inference={"overlap": 0.25},
        pictures=0,
        conditions=("ct+pet",),
    )
    folder = finetune(own, tmp_path / "run", say=quiet)
    metrics = read_json(tmp_path / "run" / "test" / "metrics.json")["ct+pet"]
    assert metrics["case_4"]["metrics"]["dice"] > 0.8
    out = predict(folder, manifest, tmp_path / "out", pictures=False, precision="32")
    from hilum.segmenter.assessment.evaluate import evaluate

    found = evaluate(out.parent, manifest, tmp_path / "evaluated")
    raw = found.cases[1]["case_4"]["dice"]
    assert raw == pytest.approx(metrics["case_4"]["metrics"]["dice"], abs=0.05)
    assert np.mean([m["dice"] for m in found.cases[1].values()]) > 0.6


def test_what_patches_lie_on_is_what_the_settings_say(store: CaseStore) -> None:
    asked = {"foreground": 0.5, "hard": 0.25, "copies": {"p": 0.4, "margin_mm": 3}}
    _, data = parts_of(settings(store, **asked))
    drawn = data.loading.patches
    assert (drawn.foreground, drawn.hard) == (0.5, 0.25)
    assert drawn.copies is not None
    assert (drawn.copies.p, drawn.copies.margin_mm) == (0.4, 3)


def test_what_the_training_cases_cannot_give_is_said(store: CaseStore) -> None:
    """The made patients take tracer up in their nodes alone."""
    split = make_split(store, settings(store, split={"labels": 1}).split)
    asked = settings(store, hard=0.2, copies={"p": 0.5})
    hard, copies = nothing_to_draw(asked, store, split)
    assert "no training case has uptake off its label" in hard
    assert "none is pasted" in copies
    assert nothing_to_draw(settings(store), store, split) == []


@pytest.mark.slow
def test_a_store_that_changes_while_a_run_trains_is_told(
    store: CaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = CaseStore(shutil.copytree(store.path, tmp_path / "store"))
    real = run_module.flops

    def change(segmenter: Segmenter) -> Any:
        about = read_json(own.path / "store.json")
        (own.path / "store.json").write_text(json.dumps(about | {"fingerprint": "labels of today"}))
        return real(segmenter)

    monkeypatch.setattr(run_module, "flops", change)
    said: list[str] = []
    finetune(settings(own, evaluate_test=False), tmp_path / "run", say=said.append)
    assert read_json(tmp_path / "run" / "summary.json")["store_changed_to"] == "labels of today"
    assert any("changed while the run read it" in line for line in said)
