"""Large scans are prepared from temporary files, with the same result, and nothing left behind."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.geometry import Grid, IntTriple
from hilum.datasets.io.nifti import read_volume, write_volume
from hilum.datasets.io.scratch import empty
from hilum.datasets.prepare.case import PrepareSettings, prepare_case

SHAPE: IntTriple = (20, 40, 33)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    draw = np.random.default_rng(0)
    array = np.full(SHAPE, -1000.0)
    array[2:18, 6:34, 5:28] = draw.normal(40, 20, (16, 28, 23))
    grid = Grid.from_spacing(SHAPE, (5, 4, 4))
    write_volume(tmp_path / "ct.nii.gz", array, grid, np.int16)
    write_volume(tmp_path / "pet.nii", np.clip(array, 0, 90) / 20, grid, np.float32)
    write_volume(tmp_path / "label.nii.gz", (array > 95).astype(np.uint8), grid)
    files = {"ct": tmp_path / "ct.nii.gz", "pet": tmp_path / "pet.nii"}
    return Case("a", "p", files, tmp_path / "label.nii.gz")


def small_memory(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    for module in ("scratch", "nifti"):
        monkeypatch.setattr(f"hilum.datasets.io.{module}.LARGE", limit)


def test_a_large_case_is_prepared_to_the_same_values(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepare_case(case, PrepareSettings())
    small_memory(monkeypatch, 1000)
    monkeypatch.setattr("hilum.datasets.io.resampling.SLAB", 40 * 33 * 3)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    parts = prepare_case(case, PrepareSettings())
    assert isinstance(parts.images, np.memmap)
    assert not list((tmp_path / "tmp").iterdir())
    assert parts.grid.same_as(whole.grid)
    for name in ("images", "regions", "label"):
        assert_array_equal(getattr(parts, name), getattr(whole, name))


@pytest.mark.parametrize("damage", ["cut", "checksum", "too many voxels"])
def test_a_damaged_large_file_is_refused(
    case: Case, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_memory(monkeypatch, 1000)
    path = case.volumes["pet"] if damage == "too many voxels" else case.volumes["ct"]
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[:-900]
    elif damage == "checksum":
        data[-6] ^= 255
    else:
        data[42:44] = (30_000).to_bytes(2, "little")
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="the file must be readable NIfTI, found"):
        read_volume(path)


def test_a_full_disk_is_one_line_not_a_killed_process(monkeypatch: pytest.MonkeyPatch) -> None:
    small_memory(monkeypatch, 1000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The system refuses to make the file, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        with pytest.raises(DataError, match=r"must have room for a large scan.*TMPDIR"):
            empty((10_000,), np.float32)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
