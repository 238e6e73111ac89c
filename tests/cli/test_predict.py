"""The command `predict` as a user runs it: folds, a fast mode, a watched folder, clear mistakes."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hilum.cli.app import app
from hilum.core.files import read_json
from hilum.core.geometry import Grid
from hilum.core.settings import validate
from hilum.datasets.io.nifti import read_label, write_volume
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

from ..command import hilum, process_of

GRID = Grid.from_spacing((14, 20, 22), (4.0, 4.0, 4.0))


@pytest.fixture
def folds(tmp_path: Path) -> Path:
    config = {
        "modalities": ("ct", "pet"),
        "encoder": {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]},
        "fusion": {"name": "early"},
        "patch": (8, 16, 16),
        "spacing": (4.0, 4.0, 4.0),
        "prior": 0.4,
    }
    for fold in range(2):
        torch.manual_seed(fold)
        Segmenter(validate(SegmenterConfig, config)).save(tmp_path / "folds" / str(fold))
    return tmp_path / "folds"


def write_case(folder: Path) -> Path:
    body = np.zeros(GRID.shape, bool)
    body[1:13, 3:17, 3:19] = True
    write_volume(folder / "ct.nii.gz", np.where(body, 30, -1000).astype(np.int16), GRID)
    write_volume(folder / "pet.nii.gz", (body * 2.0).astype(np.float32), GRID)
    return folder


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return hilum("predict", *words)


@pytest.mark.slow
def test_folds_are_averaged_fast_and_with_uncertainty(folds: Path, tmp_path: Path) -> None:
    case, out = write_case(tmp_path / "p1"), tmp_path / "out"
    ran = run(
        folds, "-i", case, "--out", out, "--fast", "--flips", "w", "--uncertainty", "variance"
    )
    assert ran.returncode == 0, ran.stderr
    report = read_json(out / "p1_report.json")
    assert report["inference"]["flips"] == "w"
    assert report["inference"]["overlap"] == 0.25
    assert read_label(out / "p1.nii.gz").grid.same_as(GRID)
    assert (out / "p1_uncertainty.nii.gz").is_file()
    assert (out / "p1.html").is_file()


@pytest.mark.slow
def test_a_wrong_setting_or_input_is_one_line(folds: Path, tmp_path: Path) -> None:
    case = write_case(tmp_path / "p1")
    ran = run(folds / "0", "-i", case, "--out", tmp_path / "o", "--uncertainty", "variance")
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: a variance needs several predictions of a voxel")
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_a_watched_folder_is_predicted_until_ctrl_c(folds: Path, tmp_path: Path) -> None:
    inbox, out = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    process = subprocess.Popen(
        process_of("predict", folds / "0", "--watch", inbox, "--out", out, "--settle", "0.2"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    write_case(inbox / "p1")
    until = time.monotonic() + 120
    while not (out / "p1" / "summary.json").is_file() and time.monotonic() < until:
        time.sleep(0.2)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    text, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "p1: done in" in text
    assert "stopped watching" in text
    assert read_label(out / "p1" / "p1.nii.gz").grid.same_as(GRID)


def test_any_modality_by_name_and_clear_mistakes(folds: Path, tmp_path: Path) -> None:
    case, out = write_case(tmp_path / "p1"), tmp_path / "out"
    ct, pet = f"ct={case / 'ct.nii.gz'}", f"pet={case / 'pet.nii.gz'}"
    fold = folds / "0"
    ran = run(fold, "--modality", ct, "--modality", pet, "--out", out, "--no-pictures", "--fast")
    assert ran.returncode == 0, ran.stderr
    assert read_json(out / "summary.json")["cases"]["p1"]["modalities"] == ["ct", "pet"]
    for words, message in (
        (("--modality", "ct"), "NAME=PATH"),
        (("--modality", ct, "--ct", case / "ct.nii.gz"), "one path may be ct"),
        (("--modality", ct, "suv=bw"), "settings of DICOM need DICOM"),
    ):
        ran = run(fold, *words, "--out", out)
        assert ran.returncode == 2
        assert message in ran.stderr


def test_names_and_missing_modalities_reach_the_terminal(folds: Path, tmp_path: Path) -> None:
    case, out = write_case(tmp_path / "p1"), tmp_path / "out"
    (case / "pet.nii.gz").rename(case / "SUV.nii.gz")
    words = [folds / "0", "-i", case, "--out", out, "--no-pictures", "--fast"]
    told = {
        (): ["files passed over: SUV", "predicted from ct without pet, which the network knows"],
        ("--name", "SUV="): ["predicted from ct without pet, which the network knows"],
        ("--name", "SUV=pet"): [],
    }
    for options, expected in told.items():
        ran = CliRunner().invoke(app, ["predict", *map(str, words), *options])
        assert ran.exit_code == 0, ran.output
        lines = [line for line in ran.output.splitlines() if line.startswith("warning: p1: ")]
        assert len(lines) == len(expected)
        assert all(text in line for text, line in zip(expected, lines, strict=True))
    assert read_json(out / "summary.json")["cases"]["p1"]["modalities"] == ["ct", "pet"]
