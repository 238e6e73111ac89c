"""Every field of a file that a command reads back has its type, or one line says which has not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hilum.core.errors import UserError
from hilum.core.runs import RunFolder
from hilum.core.side_files import SHAPES, read_side

SOUND: dict[str, Any] = {
    "split.json": {"pool": ["a"], "train": ["a"], "validation": [], "test": ["b"], "left_out": []},
    "summary.json": {
        "steps": 3, "patches": 6, "seconds": 1.5, "cpu_seconds": 2.0, "gpu_seconds": 0.0,
        "parameters": 12, "flops": 5, "training_flops": 9, "stopped_early": False,
        "ended_by": "steps", "best": 0.5, "best_step": 2, "validations": 1, "val/patients": 2.0,
        "store_changed_to": "x",
    },
    "status.json": {
        "state": "done", "command": "pretrain", "host": "here", "pid": 1, "heartbeat": 1.5,
        "step": 1, "steps": 2, "message": "",
    },
    "data.json": {"fingerprint": "x", "training": ["a"], "validation": ["b"]},
    "cell.json": {"seconds": 3, "bytes": 10},
    "failed.json": {"message": "no luck"},
    "metrics.json": {"ct": {"a": {"patient": "p", "metrics": {"dice": 0.5}}}},
    "jobs.json": [{"id": "12"}],
    "inputs.json": {"seen": {"ct": ["ct.nii.gz", 10, 20]}, "hashes": {"ct": "ab"}},
    "calibration.json": {"pretrain": {"seconds": 1}},
    "embeddings.json": {
        "folder": "run", "weights": "ab", "store": "cd", "settings": {}, "modalities": ["ct"],
        "window": [8, 8, 8],
    },
    "pictures.json": ["a.png"],
}  # fmt: skip
WRONG: tuple[Any, ...] = ("three", -1, [1], {"x": 1}, True, None, float("nan"))


def kind(value: Any) -> str:
    return "number" if type(value) in (int, float) else type(value).__name__


def test_every_file_of_the_table_is_tried() -> None:
    assert set(SOUND) == set(SHAPES)


@pytest.mark.parametrize("name", SHAPES)
def test_a_field_of_another_type_is_named_in_one_line(name: str, tmp_path: Path) -> None:
    file, tried = tmp_path / name, 0
    file.write_text(json.dumps(SOUND[name]))
    assert read_side(file) == SOUND[name]
    for value in ("three", 3, None, True):
        file.write_text(json.dumps(value))
        with pytest.raises(UserError, match=r"must be that of") as caught:
            read_side(file)
        assert "\n" not in str(caught.value)
    for key, sound in SOUND[name].items() if isinstance(SOUND[name], dict) else ():
        for wrong in WRONG:
            if kind(wrong) == kind(sound) and wrong == wrong and wrong != -1:
                continue
            if (key, wrong) == ("best", None) or (key == "best" and kind(wrong) == "number"):
                continue
            if isinstance(sound, str) and isinstance(wrong, str) and wrong != "three":
                continue
            file.write_text(json.dumps({**SOUND[name], key: wrong}))
            with pytest.raises(UserError, match=r"must be that of") as caught:
                read_side(file)
            assert name in str(caught.value)
            assert "\n" not in str(caught.value)
            tried += 1
    assert tried or not isinstance(SOUND[name], dict)


@pytest.mark.parametrize("text", ["", '{"steps": 3', "\x00\x00", '{"steps": 3}{"steps": 3}'])
def test_a_file_that_was_cut_off_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(UserError, match=r"summary.json: the file must be JSON") as caught:
        _ = RunFolder(tmp_path, "toy").summary
    assert "\n" not in str(caught.value)
