"""However a case is malformed, it is named with file, rule and remedy, and the others go on."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image

from hilum.core.errors import UserError
from hilum.core.geometry import Grid, IntTriple
from hilum.core.settings import validate
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import read_label, read_volume, write_volume
from hilum.datasets.manifest import read_manifest
from hilum.datasets.prepare.run import PrepareSettings, prepare

SIDES: IntTriple = (8, 20, 18)
CT = Grid.from_spacing(SIDES, (3, 2.5, 2))
PET = Grid.from_spacing((6, 12, 10), (4, 4, 4))
Spoil = Callable[[Path], object]
# Offsets are those of the NIfTI-1 header.
DIM, DATATYPE, VOX_OFFSET, SLOPE, UNITS, SROW_X, MAGIC = 40, 70, 108, 112, 123, 280, 344


def write_case(folder: Path, seed: int) -> None:
    """Write a sound pair with a mask."""
    draw = np.random.default_rng(seed)
    ct = np.full(SIDES, -1000) + draw.normal(0, 10, SIDES)
    ct[:, 3:17, 3:15] += 1040
    label = np.zeros(SIDES, np.uint8)
    label[3:5, 8:11, 7:10] = 1
    write_volume(folder / "ct.nii.gz", np.round(ct).astype(np.int16), CT)
    pet = (0.2 + draw.random(PET.shape)).astype(np.float32)
    write_volume(folder / "pet.nii.gz", pet, PET)
    write_volume(folder / "label.nii.gz", label, CT)


def cut(name: str, share: float) -> Spoil:
    def spoil(case: Path) -> None:
        content = (case / name).read_bytes()
        (case / name).write_bytes(content[: int(len(content) * share)])

    return spoil


def replace_by(name: str, content: bytes) -> Spoil:
    return lambda case: (case / name).write_bytes(content)


def plain(case: Path, name: str) -> bytearray:
    """Return the bytes of a volume without compression."""
    return bytearray(gzip.decompress((case / name).read_bytes()))


def header(name: str, offset: int, form: str, *values: float) -> Spoil:
    """Overwrite a field of the header at its offset in the NIfTI-1 standard."""

    def spoil(case: Path) -> None:
        content = plain(case, name)
        struct.pack_into(form, content, offset, *values)
        (case / name).write_bytes(gzip.compress(bytes(content)))

    return spoil


def voxels(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    def spoil(case: Path) -> None:
        read = read_label if name.startswith("label") else read_volume
        array, grid = read(case / name)
        write_volume(case / name, change(array.astype(np.float32)), grid)

    return spoil


def stored(name: str, array: np.ndarray, affine: np.ndarray | None = None) -> Spoil:
    """Write an array as it is, in NIfTI's own order."""
    place = np.diag([2.0, 2.5, 3.0, 1.0]) if affine is None else affine
    return lambda case: nibabel.save(Nifti1Image(array, place), case / name)


def at(index: tuple[int, ...], value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[index] = value
        return array

    return change


def affine(name: str, matrix: np.ndarray) -> Spoil:
    return header(name, SROW_X, "<12f", *matrix[:3].ravel())


def instead(name: str, make: Callable[[Path], object]) -> Spoil:
    def spoil(case: Path) -> None:
        (case / name).unlink()
        make(case / name)

    return spoil


def resave(name: str, grid: Grid) -> Spoil:
    return lambda case: write_volume(case / name, np.ones(grid.shape, np.uint8), grid)


SHEAR = np.array([[2, 0.5, 0, 0], [0, 2.5, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]], float)
FLAT = np.array([[2, 0, 0, 0], [0, 2.5, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]], float)
FAR = Grid.from_spacing(PET.shape, (4, 4, 4), (0, 0, 2000))
RGB = np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])

SPOILT: dict[str, tuple[Spoil, str, str]] = {
    # Files that are no NIfTI.
    "gzip cut at 90 %": (cut("ct.nii.gz", 0.9), "ct.nii.gz", "readable NIfTI"),
    "gzip cut at 10 %": (cut("pet.nii.gz", 0.1), "pet.nii.gz", "readable NIfTI"),
    "gzip cut by a byte": (
        lambda case: (case / "ct.nii.gz").write_bytes((case / "ct.nii.gz").read_bytes()[:-1]),
        "ct.nii.gz",
        "readable NIfTI",
    ),
    "gzip with a wrong checksum": (
        lambda case: (case / "ct.nii.gz").write_bytes(
            (case / "ct.nii.gz").read_bytes()[:-8] + b"\0" * 8
        ),
        "ct.nii.gz",
        "readable NIfTI",
    ),
    "mask cut off": (cut("label.nii.gz", 0.5), "label.nii.gz", "readable NIfTI"),
    "empty file": (replace_by("ct.nii.gz", b""), "ct.nii.gz", "readable NIfTI"),
    "empty gzip": (replace_by("ct.nii.gz", gzip.compress(b"")), "ct.nii.gz", "readable NIfTI"),
    "text": (replace_by("pet.nii.gz", b"version https://git-lfs"), "pet.nii.gz", "readable NIfTI"),
    "text in gzip": (
        replace_by("pet.nii.gz", gzip.compress(b"HU: 40, 41")),
        "pet.nii.gz",
        "readable NIfTI",
    ),
    "web page": (replace_by("ct.nii.gz", b"<!DOCTYPE html>" * 40), "ct.nii.gz", "readable NIfTI"),
    "zip": (replace_by("ct.nii.gz", b"PK\3\4" + b"\0" * 500), "ct.nii.gz", "readable NIfTI"),
    "random bytes": (
        replace_by("ct.nii.gz", np.random.default_rng(0).bytes(9000)),
        "ct.nii.gz",
        "readable NIfTI",
    ),
    "compressed twice": (
        lambda case: (case / "ct.nii.gz").write_bytes(
            gzip.compress((case / "ct.nii.gz").read_bytes())
        ),
        "ct.nii.gz",
        "readable NIfTI",
    ),
    "not compressed, in spite of its name": (
        lambda case: (case / "ct.nii.gz").write_bytes(bytes(plain(case, "ct.nii.gz"))),
        "ct.nii.gz",
        "readable NIfTI",
    ),
    "header only": (
        lambda case: (case / "ct.nii.gz").write_bytes(
            gzip.compress(bytes(plain(case, "ct.nii.gz")[:352]))
        ),
        "ct.nii.gz",
        "readable NIfTI",
    ),
    "half a header": (
        lambda case: (case / "ct.nii.gz").write_bytes(
            gzip.compress(bytes(plain(case, "ct.nii.gz")[:200]))
        ),
        "ct.nii.gz",
        "readable NIfTI",
    ),
    "wrong magic": (header("ct.nii.gz", MAGIC, "4s", b"xyz\0"), "ct.nii.gz", "NIfTI"),  # pyright: ignore
    # Headers that say nonsense.
    "more voxels than bytes": (
        header("ct.nii.gz", DIM, "<4h", 3, 900, 900, 900),
        "ct.nii.gz",
        "readable NIfTI",
    ),
    "no axis": (header("ct.nii.gz", DIM, "<4h", 0, 0, 0, 0), "ct.nii.gz", "dimensions"),
    "negative side": (header("ct.nii.gz", DIM, "<4h", 3, -18, 20, 8), "ct.nii.gz", ""),
    "no slice": (header("ct.nii.gz", DIM, "<4h", 3, 18, 20, 0), "ct.nii.gz", "three dimensions"),
    "eight axes": (header("ct.nii.gz", DIM, "<h", 8), "ct.nii.gz", ""),
    "unknown voxel type": (header("ct.nii.gz", DATATYPE, "<h", 999), "ct.nii.gz", "readable NIfTI"),
    "lengths in seconds": (header("ct.nii.gz", UNITS, "<b", 5), "ct.nii.gz", "mm"),
    "NaN in the affine": (
        header("ct.nii.gz", SROW_X, "<f", float("nan")),
        "ct.nii.gz",
        "spacing must be positive",
    ),
    "infinity in the affine": (
        header("ct.nii.gz", SROW_X, "<f", float("inf")),
        "ct.nii.gz",
        "spacing must be positive",
    ),
    "scaled to infinity": (
        header("pet.nii.gz", SLOPE, "<2f", 1e38, 1e38),
        "pet.nii.gz",
        "must be",
    ),
    "data beyond the end": (
        header("ct.nii.gz", VOX_OFFSET, "<f", 1e7),
        "ct.nii.gz",
        "readable NIfTI",
    ),
    # Shapes and geometry.
    "a time series": (stored("ct.nii.gz", np.ones((4, 4, 4, 3))), "ct.nii.gz", "three dimensions"),
    "five axes": (stored("ct.nii.gz", np.ones((4, 4, 4, 1, 3))), "ct.nii.gz", "three dimensions"),
    "a picture": (stored("ct.nii.gz", np.ones((9, 9))), "ct.nii.gz", "three dimensions"),
    "colours": (stored("ct.nii.gz", RGB), "ct.nii.gz", "numbers"),
    "complex numbers": (
        stored("pet.nii.gz", np.ones((4, 4, 4), np.complex64)),
        "pet.nii.gz",
        "numbers",
    ),
    "sheared axes": (affine("ct.nii.gz", SHEAR), "ct.nii.gz", "right angles"),
    "an axis without length": (affine("ct.nii.gz", FLAT), "ct.nii.gz", "spacing must be positive"),
    "no geometry": (affine("ct.nii.gz", np.zeros((4, 4))), "ct.nii.gz", "spacing"),
    "PET elsewhere": (
        lambda case: write_volume(
            case / "pet.nii.gz", np.random.default_rng(0).random(FAR.shape).astype(np.float32), FAR
        ),
        "pet.nii.gz",
        "overlap by at least",
    ),
    # Values.
    "NaN": (voxels("pet.nii.gz", at((2, 3, 4), np.nan)), "pet.nii.gz", "finite"),
    "infinity": (voxels("ct.nii.gz", at((2, 3, 4), np.inf)), "ct.nii.gz", "finite"),
    "minus infinity": (voxels("ct.nii.gz", at((2, 3, 4), -np.inf)), "ct.nii.gz", "finite"),
    "NaN everywhere": (voxels("ct.nii.gz", lambda x: x * np.nan), "ct.nii.gz", "finite"),
    "nothing but zero": (voxels("pet.nii.gz", np.zeros_like), "pet.nii.gz", "pet"),
    "SUV of 1e9": (voxels("pet.nii.gz", lambda x: x * 1e9), "pet.nii.gz", "Bq/ml"),
    "Bq/ml": (voxels("pet.nii.gz", lambda x: x * 5000), "pet.nii.gz", "Bq/ml"),
    "SUV far below zero": (voxels("pet.nii.gz", lambda x: x - 60), "pet.nii.gz", "SUV"),
    "HU of a million": (voxels("ct.nii.gz", lambda x: x * 1e4), "ct.nii.gz", "HU"),
    # Masks.
    "fractions in the mask": (voxels("label.nii.gz", lambda x: x / 2), "label.nii.gz", "whole"),
    "negative mask": (voxels("label.nii.gz", lambda x: -x), "label.nii.gz", "whole"),
    "NaN in the mask": (voxels("label.nii.gz", at((1, 1, 1), np.nan)), "label.nii.gz", ""),
    "grey values as mask": (
        voxels("label.nii.gz", lambda x: x * 200),
        "label.nii.gz",
        "label values",
    ),
    "values beyond 16 bit": (voxels("label.nii.gz", lambda x: x * 70000), "label.nii.gz", "whole"),
    "mask of another shape": (
        resave("label.nii.gz", Grid.from_spacing((8, 20, 17), (3, 2.5, 2.2))),
        "label.nii.gz",
        "on the grid of one",
    ),
    "mask shifted": (
        resave("label.nii.gz", Grid.from_spacing(SIDES, (3, 2.5, 2), (5, 0, 0))),
        "label.nii.gz",
        "on the grid of one",
    ),
    "mask in mm of another scan": (
        resave("label.nii.gz", Grid.from_spacing(SIDES, (3, 3, 3))),
        "label.nii.gz",
        "on the grid of one",
    ),
    # The file system.
    "a folder with a volume's name": (
        instead("ct.nii.gz", lambda path: path.mkdir()),
        "ct.nii.gz",
        "",
    ),
    "a link to nowhere": (
        instead("pet.nii.gz", lambda path: path.symlink_to("nowhere.nii.gz")),
        "pet.nii.gz",
        "no such",
    ),
    "a link to itself": (
        instead("pet.nii.gz", lambda path: path.symlink_to(path.name)),
        "pet.nii.gz",
        "",
    ),
    "a pipe": (instead("pet.nii.gz", os.mkfifo), "pet.nii.gz", "file"),
    "one modality twice": (
        lambda case: shutil.copy(case / "ct.nii.gz", case / "CT.nii.gz"),
        "ct.nii.gz",
        "one file for ct",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_malformed_case_is_named_and_the_others_go_on(tmp_path: Path, name: str) -> None:
    root = tmp_path / "Kohorte ü"
    for seed, case in enumerate("abc"):
        write_case(root / case, seed)
    spoil, file, words = SPOILT[name]
    spoil(root / "b")
    line = refusal_of(root, tmp_path / "out")
    assert "\n" not in line
    assert "b" in line
    assert file in line, line
    assert words in line, line
    assert len(line) < 400 + len(str(tmp_path)) * 3
    assert "Traceback" not in line


def refusal_of(root: Path, out: Path) -> str:
    """Import and prepare what can be; return why case b was left out, and by whom."""
    manifest = import_cohort("folder", root, out)
    about = json.loads((out / "import.json").read_text())
    left = {row["case"]: row["reason"] for row in about["left_out"]}
    kept = [case.id for case in read_manifest(manifest)]
    if "b" in left:
        assert kept == ["a", "c"]
        return left["b"]
    assert kept == ["a", "b", "c"]
    store = prepare(manifest, out / "store", validate(PrepareSettings, {}), skip_bad=True)
    assert sorted(store.ids) == ["a", "c"], "the sound ones are prepared"
    assert list(store.about["left_out"]) == ["b"]
    with pytest.raises(UserError) as caught:
        prepare(manifest, out / "strict", validate(PrepareSettings, {}))
    assert "2 of 3 are prepared" in str(caught.value)
    return store.about["left_out"]["b"]
