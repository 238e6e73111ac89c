"""What is said of a label is read as it was written, or one line says what is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.annotate.taking.changes import changes
from hilum.annotate.taking.versions import Version, next_number, versions, write_version
from hilum.core.errors import DataError
from hilum.core.geometry import Grid

GRID = Grid.from_spacing((2, 3, 4), (2, 2, 2))


@pytest.fixture
def version() -> Version:
    before, after = np.zeros(GRID.shape, np.uint8), np.zeros(GRID.shape, np.uint8)
    before[0, 0, 0] = after[1, 2, 3] = 1
    found = changes(before, after, 0.008).as_json()
    source = {"file": "a.nii.gz", "hash": "ab"}
    return Version("case_0", "ana", 1, "2026", source, "its name", {"mask": "cd"}, found, 0.5)


def test_a_version_comes_back_as_it_was_written(version: Version, tmp_path: Path) -> None:
    write_version(tmp_path, version, np.zeros(GRID.shape, np.uint8), GRID)
    assert list(versions(tmp_path)) == [version]
    assert next_number(tmp_path, "case_0", "ana") == 2


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("case", 3, "case: "),
        ("number", "1", "number: "),
        ("number", 0, "number: "),
        ("round", 0, "round: "),
        ("round", True, "round: "),
        ("source", [], "source: "),
        ("source", {"file": 1}, "source.file: "),
        ("unknown_ml", "much", "unknown_ml: "),
        ("unknown_ml", float("nan"), "unknown_ml: "),
        ("changes", {}, "changes.added: field required"),
        ("changes", {"added": -1}, "changes.added: "),
        ("statuses", {"1": 2}, "statuses.1: "),
        ("proposal", None, "proposal: "),
        ("else", 1, "else: "),
    ],
)
def test_a_damaged_field_is_named(
    version: Version, tmp_path: Path, key: str, value: Any, message: str
) -> None:
    label = write_version(tmp_path, version, np.zeros(GRID.shape, np.uint8), GRID)
    file = label.with_name("1.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(DataError) as caught:
        list(versions(tmp_path))
    text = str(caught.value)
    assert text.startswith(f"{file}: the file must be that of a version, found {message}")
    assert "restore the file" in text
    assert "\n" not in text


def test_a_field_that_is_missing_is_named(version: Version, tmp_path: Path) -> None:
    label = write_version(tmp_path, version, np.zeros(GRID.shape, np.uint8), GRID)
    file = label.with_name("1.json")
    about = json.loads(file.read_text())
    for key in {*about} - {"statuses", "round"}:
        file.write_text(json.dumps({k: v for k, v in about.items() if k != key}))
        with pytest.raises(DataError, match=f"found {key}: field required"):
            list(versions(tmp_path))
