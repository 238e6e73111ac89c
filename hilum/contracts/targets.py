"""What every form to export to must keep; run by pytest, once for each `name`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from hilum.core.checkpoints import EncoderConfig, save_encoder
from hilum.core.errors import CheckpointError, UserError
from hilum.core.files import hash_of_file, read_json
from hilum.core.registry import build
from hilum.core.settings import validate
from hilum.encoders import ENCODERS
from hilum.exchange.networks_out.exporting import REPORT, TARGETS, Kind, export
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

TABLE = TARGETS
ENCODER: dict[str, Any] = {
    "name": "resenc",
    "features": [4, 8, 12],
    "blocks": [1, 2, 1],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
}
KINDS = pytest.mark.parametrize("kind", get_args(Kind))


def source_of(name: str, kind: Kind, folder: Path) -> Path:
    """Write a small folder that it takes, or skip the check."""
    if kind not in TARGETS[name].takes:
        pytest.skip(f"it is not made from {kind} folders")
    torch.manual_seed(0)
    about: dict[str, Any] = {"modalities": ("ct", "pet"), "spacing": (4.0, 4.0, 4.0)}
    about["patch"] = (4, 8, 8)
    if kind == "encoder":
        config = validate(EncoderConfig, about | {"architecture": ENCODER, "licence": "CC-BY-4.0"})
        return save_encoder(folder, build(ENCODERS, ENCODER, in_channels=2), config)
    values = about | {"encoder": ENCODER, "fusion": {"name": "early"}}
    return Segmenter(validate(SegmenterConfig, values)).save(folder)


def exported(source: Path, name: str, out: Path) -> Path:
    """Export, or skip the check where a library is not installed."""
    try:
        return export(source, name, out)
    except UserError as error:
        if "pip install" in str(error):
            pytest.skip(str(error))
        raise


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hash_of_file(path, 64)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_it_says_in_a_line_what_it_is_and_what_it_is_made_from(name: str) -> None:
    target = TARGETS[name]
    assert target.title.strip()
    assert "\n" not in target.title
    assert target.takes
    assert set(target.takes) <= set(get_args(Kind))
    assert callable(target.writer(name))


@KINDS
def test_it_writes_files_that_are_told_and_leaves_its_source_alone(
    name: str, kind: Kind, tmp_path: Path
) -> None:
    source = source_of(name, kind, tmp_path / "source")
    before = hashes(source)
    out = exported(source, name, tmp_path / "out")
    assert hashes(source) == before
    about = read_json(out / REPORT)
    written = hashes(out)
    del written[REPORT]
    assert written, "something is written"
    assert about["files"] == written
    assert (about["target"], about["kind"]) == (name, kind)
    # The same on whichever machine: no path of this one in any file.
    for path in out.rglob("*"):
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path.name


@KINDS
def test_an_export_is_replaced_by_one_of_the_same_files(
    name: str, kind: Kind, tmp_path: Path
) -> None:
    source = source_of(name, kind, tmp_path / "source")
    first = hashes(exported(source, name, tmp_path / "out"))
    again = hashes(exported(source, name, tmp_path / "out"))
    assert first.keys() == again.keys()


@KINDS
def test_weights_that_are_damaged_are_refused_and_nothing_is_written(
    name: str, kind: Kind, tmp_path: Path
) -> None:
    source = source_of(name, kind, tmp_path / "source")
    file = source / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-8] + b"damaged!")
    with pytest.raises(UserError) as caught:
        exported(source, name, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@KINDS
def test_another_folder_is_refused_and_nothing_is_written(
    name: str, kind: Kind, tmp_path: Path
) -> None:
    if kind in TARGETS[name].takes:
        pytest.skip(f"it is made from {kind} folders")
    (able,) = TARGETS[name].takes
    wrong = source_of("state_dict", kind, tmp_path / "source")
    with pytest.raises(CheckpointError, match=f"is made from {able} folders"):
        export(wrong, name, tmp_path / "out")
    assert not (tmp_path / "out").exists()
