"""A compressed store gives the same patches as one of memory maps, in a fraction of the bytes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hilum.core.case import Case
from hilum.core.errors import StoreError
from hilum.core.geometry import Grid
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import write_manifest
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.datasets.store.compressed import open_array, write_array

from ...patch_sets import patch_set

pytest.importorskip("blosc2")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    grid = Grid.from_spacing((40, 45, 50), (4, 4, 4))
    ct = np.full(grid.shape, -1000.0)
    ct[5:35, 6:40, 7:44] = draw.normal(40, 9, (30, 34, 37)).round()
    label = (ct > 65).astype(np.uint8)
    for name, array in (("ct", ct), ("pet", np.clip(ct, 0, 90) / 20), ("label", label)):
        write_volume(tmp_path / f"{name}.nii.gz", array, grid)
    files = {name: tmp_path / f"{name}.nii.gz" for name in ("ct", "pet")}
    write_manifest(tmp_path / "m.csv", [Case("a", "a", files, tmp_path / "label.nii.gz")])
    return tmp_path / "m.csv"


def test_patches_are_the_same_from_many_threads(manifest: Path, tmp_path: Path) -> None:
    stores = [
        prepare(manifest, tmp_path / kind, PrepareSettings(storage=kind))
        for kind in ("npy", "b2nd")
    ]
    sets = [patch_set(s, s.ids, (20, 24, 28), 24, 1, ("pet", "ct")) for s in stores]
    with ThreadPoolExecutor(4) as pool:
        many = list(pool.map(sets[1].__getitem__, range(24)))
    for index in range(24):
        for key in ("image", "label", "regions"):
            assert_array_equal(sets[0][index][key], many[index][key])
    sizes = [sum(f.stat().st_size for f in s.path.rglob("*.*")) for s in stores]
    assert sizes[1] < 0.7 * sizes[0]


def test_a_whole_array_comes_back_to_the_bit(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(0, 100, (2, 130, 33, 7)).astype(np.float16)
    write_array(tmp_path / "x.b2nd", array)
    read = open_array(tmp_path / "x.b2nd", "a")
    assert (read.shape, read.dtype, len(read)) == (array.shape, array.dtype, 2)
    assert_array_equal(np.asarray(read), array)
    assert_array_equal(read[1, 100:, 5], array[1, 100:, 5])


@pytest.mark.parametrize("damage", ["missing", "cut", "nonsense"])
def test_a_damaged_file_names_the_case(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "x.b2nd"
    write_array(file, np.zeros((9, 9, 9), np.uint8))
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:40] if damage == "cut" else b"no array" * 20)
    with pytest.raises(StoreError, match=r"case a: .*x\.b2nd: the array must be readable"):
        open_array(file, "a")
