"""A file is whole or absent, even when the disk is full or the process dies."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hilum.core.errors import UserError
from hilum.core.files import atomic_folder, atomic_path, hash_of, read_json, write_array, write_json


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"n": 1})
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "a.json") as part:
        part.write_text(f"half {1 / 0}")
    assert read_json(tmp_path / "a.json") == {"n": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_is_one_clear_error() -> None:
    """Write to a real full device: no mock."""
    code = (
        "import sys; from pathlib import Path; from hilum.core.files import full_disk\n"
        "try:\n  f = open('/dev/full', 'w'); f.write('x' * 100000); f.close()\n"
        "except OSError as e: raise SystemExit(str(full_disk(e, Path('out.json'))))"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert "out.json: the disk must have room" in ran.stderr
    assert "free some space" in ran.stderr


def test_no_space_left_inside_an_atomic_write_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must have room"), atomic_path(tmp_path / "a"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert not list(tmp_path.iterdir())


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for n in (1, 2):
        with atomic_folder(tmp_path / "x") as part:
            write_json(part / f"{n}.json", n)
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["2.json"]
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_arrays_and_numpy_numbers_are_written(tmp_path: Path) -> None:
    write_array(tmp_path / "a.npy", np.arange(3))
    write_json(tmp_path / "b.json", {"x": np.float32(1.5), "y": np.arange(2), "p": Path("é")})
    assert np.load(tmp_path / "a.npy").tolist() == [0, 1, 2]
    assert read_json(tmp_path / "b.json") == {"x": 1.5, "y": [0, 1], "p": "é"}


def test_damaged_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match=r"a\.json: the file must be JSON"):
        read_json(tmp_path / "a.json")


def test_the_hash_depends_on_content_only() -> None:
    assert hash_of({"a": (1, 2), "b": 1.0}) == hash_of({"b": 1.0, "a": [1, 2]})
    assert hash_of({"a": 1}) != hash_of({"a": 2})
