"""A prediction is that of the network that was loaded, or there is none."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hilum.core.errors import CheckpointError, DataError, DiskError
from hilum.core.files import atomic_path, read_json
from hilum.core.weights import read_weights
from hilum.datasets.io.nifti import read_label
from hilum.datasets.manifest import read_manifest, write_manifest
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.prediction import cohort
from hilum.segmenter.prediction.already import check_names
from hilum.segmenter.prediction.cohort import predict
from hilum.segmenter.prediction.identity import identity_of
from hilum.segmenter.segmenter import Segmenter

from ...kill_points import killed_at, operations_of
from ...tiny_cohort import Threshold
from ...weights_files import put_weights

Make = Callable[..., SegmenterConfig]


def above(config: Make, suv: float) -> Segmenter:
    """Return a segmenter that calls SUV above a value a node; its weights do not tell it."""
    segmenter = Segmenter(config(classes=2, extra={"suv": suv}))
    segmenter.strategy = Threshold(float(np.log1p(suv)), 0)  # pyright: ignore[reportAttributeAccessIssue]
    return segmenter


@pytest.fixture
def one(manifest: Path, tmp_path: Path) -> Path:
    """Return a manifest of one case."""
    return write_manifest(tmp_path / "one.csv", read_manifest(manifest)[:1])


def voxels(out: Path) -> int:
    return int(read_label(out / "case_0.nii.gz").array.sum())


def test_masks_of_another_network_are_never_taken_for_done_work(
    config: Make, one: Path, tmp_path: Path
) -> None:
    """A call of another network was killed anywhere between two calls of one."""
    ours, other = above(config, 4), above(config, 0.9)
    predict(ours, one, tmp_path / "calm", pictures=False)
    predict(other, one, tmp_path / "others", pictures=False)
    right, wrong = voxels(tmp_path / "calm"), voxels(tmp_path / "others")
    assert wrong > 2 * right
    out = tmp_path / "count"
    predict(ours, one, out, pictures=False)
    count = operations_of(lambda: predict(other, one, out, pictures=False), out)
    assert count > 10
    seen = set()
    for point in range(1, count, max(count // 5, 1)):
        out = tmp_path / str(point)
        predict(ours, one, out, pictures=False)
        assert killed_at(lambda out=out: predict(other, one, out, pictures=False), point, out)
        seen.add(voxels(out))
        predict(ours, one, out, pictures=False)
        assert voxels(out) == right, point
    assert seen == {right, wrong}, "some kills came after the other's mask"


def test_a_mask_that_somebody_changed_is_predicted_again(
    config: Make, one: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict(above(config, 4), one, out, pictures=False)
    right = (out / "case_0.nii.gz").read_bytes()
    (out / "case_0.nii.gz").write_bytes(right[:-20])
    predict(above(config, 4), one, out, pictures=False)
    assert (out / "case_0.nii.gz").read_bytes() == right


def test_identity_is_content(config: Make, tmp_path: Path) -> None:
    one = Segmenter(config())
    folder = one.save(tmp_path / "a")
    assert identity_of(Segmenter.from_pretrained(folder)) == identity_of(
        Segmenter.from_pretrained(folder)
    )
    before = identity_of(one)
    with torch.no_grad():  # a sum of the tensor is the same
        weight = next(tensor for tensor in one.parameters() if tensor.ndim == 5)
        weight.view(-1)[:2] = weight.view(-1)[:2].flip(0).clone()
    assert identity_of(one) != before


def test_damaged_missing_foreign_and_replaced_weights_are_errors(
    config: Make, tmp_path: Path
) -> None:
    folder = Segmenter(config()).save(tmp_path / "a")
    file = folder / "model.safetensors"
    sound = file.read_bytes()
    flipped = bytearray(sound)
    flipped[-5] ^= 1
    foreign = (Segmenter(config()).save(tmp_path / "b") / file.name).read_bytes()
    for content, words in ((bytes(flipped), "saved with config.json"), (foreign, "saved with")):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match=words) as caught:
            Segmenter.from_pretrained(folder)
        assert str(file) in str(caught.value)
    file.unlink()
    with pytest.raises(CheckpointError, match="no such weights"):
        Segmenter.from_pretrained(folder)
    file.write_bytes(sound)
    # The folder is replaced as a whole between the two reads: config.json of one, weights of other.
    checksums = read_json(folder / "config.json")["checksums"]
    Segmenter(config()).save(folder)
    with pytest.raises(CheckpointError, match="those that were saved"):
        read_weights(folder, checksums)
    assert read_weights(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_neither_written_nor_read(
    config: Make, tmp_path: Path, value: float
) -> None:
    segmenter = Segmenter(config())
    folder = segmenter.save(tmp_path / "a")
    weights = read_weights(folder)
    name = next(name for name, tensor in weights.items() if tensor.is_floating_point())
    weights[name].view(-1)[0] = value
    put_weights(folder, weights)
    with pytest.raises(CheckpointError, match=f"1 of .* numbers of {name} that are not"):
        Segmenter.from_pretrained(folder)
    with torch.no_grad():
        next(iter(segmenter.parameters())).view(-1)[0] = value
    with pytest.raises(CheckpointError, match="weights must be finite"):
        segmenter.save(tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_probability_that_is_not_finite_is_no_empty_mask(
    config: Make, one: Path, tmp_path: Path
) -> None:
    segmenter = above(config, 4)
    with torch.no_grad():
        segmenter.strategy.scale.fill_(float("nan"))  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    with pytest.raises(DataError, match="case_0: a network must give finite probabilities"):
        predict(segmenter, one, tmp_path / "out", pictures=False)
    assert not list((tmp_path / "out").glob("*.nii.gz"))
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["cases"] == {}


def test_a_full_disk_stops_at_the_first_case(
    config: Make, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def full(folder: Path, name: str, nodes: object) -> None:
        asked.append(name)
        with atomic_path(folder / f"{name}_nodes.json"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cohort, "write_nodes", full)
    with pytest.raises(DiskError, match="the disk must have room"):
        predict(above(config, 4), manifest, tmp_path / "out", pictures=False)
    assert asked == ["case_0"]


@pytest.mark.parametrize(
    ("case", "files", "taken"),
    [
        ("x", ["x.nii.gz", "x_probability.nii.gz"], "x_probability.nii.gz"),
        ("X_Probability", ["X_Probability.nii.gz"], "x_probability.nii.gz"),
        ("x_probability", ["x_probability.nii.gz"], None),
        ("y", ["y.nii.gz"], None),
    ],
)
def test_two_cases_never_write_one_file(case: str, files: list[str], taken: str | None) -> None:
    rows = {"x_probability": {"files": ["x_probability.nii.gz", "x_probability_report.json"]}}
    if taken is None:
        check_names(case, files, rows)
        return
    with pytest.raises(DataError, match=f"found {taken}, which is of case x_probability"):
        check_names(case, files, rows)
