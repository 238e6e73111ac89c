"""Odd patients go through the whole flow: train, predict and evaluate, without NaN or a stop."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.files import read_json
from hilum.core.geometry import Grid
from hilum.core.settings import validate
from hilum.datasets.io.nifti import read_label, read_volume, write_volume
from hilum.datasets.manifest import read_manifest, write_manifest
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.finetune.run import finetune
from hilum.finetune.settings import FinetuneSettings
from hilum.segmenter.assessment.evaluate import evaluate
from hilum.segmenter.prediction.cohort import predict
from hilum.segmenter.segmenter import Segmenter

TURN = np.array(
    [[0.05, 0.2, 0.98, 0], [-0.1, 0.975, -0.2, 0], [0.99, 0.09, -0.07, 0], [0, 0, 0, 1]]
)


def grid(shape: tuple[int, int, int], spacing: tuple[float, float, float], turned: bool) -> Grid:
    straight = Grid.from_spacing(shape, spacing)
    if not turned:
        return straight
    axes, _ = np.linalg.qr(TURN[:3, :3])
    affine = np.eye(4)
    affine[:3, :3] = axes * np.sign(np.diag(axes[:, ::-1])) * spacing
    return Grid(shape, affine)


def write(folder: Path, name: str, place: Grid, nodes: list[tuple[slice, slice, slice]]) -> Case:
    """Write a body with nodes of SUV 8 and 90 HU in it."""
    ct = np.full(place.shape, -1000, np.float32)
    d, h, w = (slice(n // 8, n - n // 8) for n in place.shape)
    ct[d, h, w] = 30
    pet = np.where(ct > 0, 1.0, 0.0).astype(np.float32)
    label = np.zeros(place.shape, np.uint8)
    for node in nodes:
        label[node] = 1
    ct[label > 0], pet[label > 0] = 90, 8
    files = {
        "ct": write_volume(folder / name / "ct.nii.gz", ct, place),
        "pet": write_volume(folder / name / "pet.nii.gz", pet, place),
    }
    return Case(name, name, files, write_volume(folder / name / "label.nii.gz", label, place))


@pytest.fixture
def odd(tmp_path: Path) -> list[Case]:
    fine, coarse = (24, 28, 30), (12, 28, 30)
    nodes = [
        (slice(8, 9), slice(9, 10), slice(8, 9)),  # one voxel
        (slice(12, 15), slice(10, 14), slice(10, 14)),
        (slice(15, 18), slice(14, 18), slice(14, 18)),  # touches it at a corner
    ]
    cases = [
        write(tmp_path / "raw", "no_node", grid(fine, (4, 4, 4), False), []),
        write(tmp_path / "raw", "none_either", grid(fine, (4, 4, 4), False), []),
        write(tmp_path / "raw", "tiny_touching", grid(fine, (4, 4, 4), False), nodes),
        write(tmp_path / "raw", "thick_oblique", grid(coarse, (8, 4, 4), True), nodes[:2]),
        write(tmp_path / "raw", "half_pet", grid(fine, (4, 4, 4), False), nodes[1:2]),
    ]
    pet = read_volume(cases[4].volumes["pet"])
    half = pet.grid.crop((0, 0, 0), (12, 28, 30))
    write_volume(cases[4].volumes["pet"], pet.array[:12], half)
    return cases


def settings(store: Path, **changes: Any) -> FinetuneSettings:
    values: dict[str, Any] = {
        "store": str(store),
        "encoder": {"name": "resenc", "features": [4, 8], "blocks": [1, 1]},
        "patch": (16, 16, 16),
        "split": {"test": "manifest"},
        "trainer": {
            "steps": 2,
            "batch_size": 2,
            "log_every": 1,
            "precision": "32",
            "tracking": {"mode": "disabled"},
        },
        "inference": {"overlap": 0, "window": (32, 32, 32)},
        "pictures": 0,
    }
    return validate(FinetuneSettings, values | changes)


@pytest.mark.slow
@pytest.mark.parametrize("train", ["without a node", "all"])
def test_odd_patients_train_predict_and_evaluate(
    odd: list[Case], tmp_path: Path, train: str
) -> None:
    empty = ("no_node", "none_either")
    split = ["train" if train == "all" or c.id in empty else "test" for c in odd]
    cases = [
        Case(c.id, c.patient, c.volumes, c.label, split=s) for c, s in zip(odd, split, strict=True)
    ]
    manifest = write_manifest(tmp_path / "manifest.csv", cases)
    how = validate(PrepareSettings, {"spacing": (4, 4, 4), "modalities": ("ct", "pet")})
    store = prepare(manifest, tmp_path / "store", how)
    run = tmp_path / "run"
    asked = settings(store.path)
    if train != "all":
        with pytest.raises(DataError, match=r"patches on nodes need a case with nodes.*foreground"):
            finetune(asked, run, say=lambda text: None)
        asked = settings(store.path, foreground=0)
    folder = finetune(asked, run, say=lambda text: None)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [v for row in rows for k, v in row.items() if k.startswith("train/")]
    assert losses
    assert all(math.isfinite(value) for value in losses)
    predict(folder, manifest, tmp_path / "masks", pictures=False)
    found = evaluate(tmp_path / "masks", manifest, tmp_path / "out")
    assert set(found.cases[1]) == {case.id for case in cases}
    for name in empty:
        assert found.cases[1][name]["dice"] in (0, 1)
    about = read_json(tmp_path / "out" / "cohort.json")
    assert about["classes"]["1"]["dice"]["n"] == 5


def test_masks_lie_on_odd_grids_where_the_nodes_are(
    odd: list[Case], threshold: Segmenter, tmp_path: Path
) -> None:
    manifest = write_manifest(tmp_path / "manifest.csv", odd)
    predict(threshold, manifest, tmp_path / "masks", pictures=True)
    found = evaluate(tmp_path / "masks", manifest, tmp_path / "out").cases[1]
    assert found["no_node"]["dice"] == 1, "nothing is there and nothing was made up"
    assert found["tiny_touching"]["dice"] == 1
    assert found["tiny_touching"]["lesion_sensitivity"] == 1
    rows = read_json(tmp_path / "masks" / "tiny_touching_nodes.json")
    assert [row["volume_ml"] for row in rows] == pytest.approx([96 * 0.064, 0.064])
    assert found["thick_oblique"]["dice"] > 0.8, "8 mm slices, resampled to 4 mm and back"
    mask = read_label(tmp_path / "masks" / "thick_oblique.nii.gz")
    assert mask.grid.same_as(read_label(read_manifest(manifest)[3].label or "").grid)
    # The node begins where the PET ends: without PET its CT must do, which this one cannot.
    assert found["half_pet"]["false_positives"] == 0


def test_values_of_another_data_set_are_said(tmp_path: Path) -> None:
    place = grid((6, 8, 9), (4, 4, 4), False)
    truth = np.zeros(place.shape, np.uint8)
    truth[2:4, 2:5, 3:6] = 1
    for folder, value in (("ours", 7), ("truth", 1), ("same", 1)):
        write_volume(tmp_path / folder / "a.nii.gz", truth * np.uint8(value), place)
    said = evaluate(tmp_path / "ours", tmp_path / "truth", tmp_path / "out").lines()
    assert "note: class 7 is in no reference" in "\n".join(said)
    assert "note: class 1 is in no prediction" in "\n".join(said)
    said = evaluate(tmp_path / "same", tmp_path / "truth", tmp_path / "out").lines()
    assert "note:" not in "\n".join(said)
