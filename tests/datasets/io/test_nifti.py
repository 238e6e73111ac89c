"""NIfTI files land on the right voxel and the right place, and damaged ones are refused."""

from __future__ import annotations

import gzip
import itertools
import subprocess
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image
from numpy.testing import assert_allclose, assert_array_equal

from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.datasets.io.nifti import (
    read_grid,
    read_label,
    read_volume,
    write_volume,
)
from hilum.datasets.io.nifti_header import notes_on_header

from ...warm import python


def doubtful_position(path: Path) -> str:
    """Return the note on the position, or nothing, of a file that can be read."""
    read_grid(path)
    notes = [note for note in notes_on_header(path) if note.kind == "positions in doubt"]
    return "; ".join(note.text.partition(": ")[2] for note in notes)


IJK = (4, 5, 3)
DIRECTIONS = [
    (axes, signs)
    for axes in itertools.permutations(range(3))
    for signs in [(1, 1, 1), (-1, -1, 1), (1, -1, -1), (-1, 1, -1)]
]


def numbers(shape: tuple[int, ...] = IJK) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nibabel.save(Nifti1Image(array, np.diag([2, 3, 4, 1]) if affine is None else affine), path)
    return path


@pytest.mark.parametrize(("axes", "signs"), DIRECTIONS)
def test_every_voxel_keeps_its_value_and_its_place(
    tmp_path: Path, axes: tuple[int, int, int], signs: tuple[int, int, int]
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = 0
    for column, (row, sign, spacing) in enumerate(zip(axes, signs, (0.7, 2, 3.5), strict=True)):
        affine[row, column] = sign * spacing
    affine[:3, 3] = (-11, 5, 120)
    array, grid = read_volume(save(tmp_path / "a.nii.gz", numbers(), affine))
    assert array.shape == grid.shape == (3, 5, 4)
    for i, j, k in np.ndindex(IJK):
        assert array[k, j, i] == numbers()[i, j, k]
        assert_allclose(grid.to_world((k, j, i)), (affine @ (i, j, k, 1))[:3], atol=1e-4)


def test_an_oblique_scan_keeps_its_angle(tmp_path: Path) -> None:
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    affine = turn @ np.diag([2.0, 3, 4, 1])
    grid = read_grid(save(tmp_path / "a.nii", numbers(), affine))
    assert_allclose(grid.spacing, (4, 3, 2), rtol=1e-5)
    assert_allclose(grid.to_world((0, 0, 1)), affine[:3, 0], atol=1e-5)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "größe ä/ß é 節.nii.gz"])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.int64, np.float16, np.float32])
def test_what_is_written_is_read_back(tmp_path: Path, name: str, dtype: type) -> None:
    array = (numbers((3, 5, 4)) * 50).clip(0).astype(dtype)
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag([-1.5, -0.8, 3]))
    affine[:3, 3] = (40, 50, -700)
    path = write_volume(tmp_path / name, array, Grid((3, 5, 4), affine))
    volume = read_volume(path)
    assert volume.array.dtype == np.float32
    assert_array_equal(volume.array, array.astype(np.float32))
    assert volume.grid.same_as(Grid((3, 5, 4), affine))
    header = Nifti1Image.from_filename(path).header
    assert int(header["sform_code"]) == int(header["qform_code"]) == 1
    assert not doubtful_position(path)
    assert header.get_xyzt_units()[0] == "mm"


def test_the_same_volume_gives_the_same_bytes(tmp_path: Path) -> None:
    grid = Grid.from_spacing((3, 5, 4), (3, 2, 1))
    first = write_volume(tmp_path / "first.nii.gz", numbers((3, 5, 4)), grid)
    second = write_volume(tmp_path / "second.nii.gz", numbers((3, 5, 4)), grid)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes()[4:8] == b"\0\0\0\0", "no time of writing in the gzip header"


def test_the_scaling_of_the_header_is_applied(tmp_path: Path) -> None:
    image = Nifti1Image(np.arange(60, dtype=np.int16).reshape(IJK), np.eye(4))
    image.header.set_slope_inter(0.5, -1024)
    nibabel.save(image, tmp_path / "a.nii.gz")
    array, _ = read_volume(tmp_path / "a.nii.gz")
    stored = np.asarray(Nifti1Image.from_filename(tmp_path / "a.nii.gz").dataobj)
    assert_allclose(array, stored.T, rtol=1e-6)


def test_the_sform_counts_and_the_qform_stands_in_for_it(tmp_path: Path) -> None:
    sform, qform = np.diag([2.0, 3, 4, 1]), np.diag([-2.0, -3, 4, 1])
    image = Nifti1Image(numbers(), None)
    for s_code, q_code, expected, doubt in [
        (1, 1, sform, "sform and qform 24.0 mm apart"),
        (1, 0, sform, ""),
        (0, 1, qform, ""),
        (0, 0, None, "neither sform nor qform"),
    ]:
        image.header.set_zooms((2, 3, 4))
        image.header.set_sform(sform, s_code)
        image.header.set_qform(qform, q_code)
        path = tmp_path / f"{s_code}{q_code}.nii"
        nibabel.save(Nifti1Image(image.dataobj, None, image.header), path)
        if expected is not None:
            assert_allclose(read_grid(path).affine[:, [2, 1, 0, 3]], expected, atol=1e-5)
        assert doubtful_position(path) == doubt


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000), ("mm", 1), ("micron", 0.001)])
def test_lengths_become_mm(tmp_path: Path, unit: str, factor: float) -> None:
    image = Nifti1Image(numbers(), np.diag([2 / factor, 3 / factor, 4 / factor, 1]))
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii")
    assert_allclose(read_grid(tmp_path / "a.nii").spacing, (4, 3, 2), rtol=1e-5)


def test_a_fourth_axis_of_one_is_dropped(tmp_path: Path) -> None:
    array, grid = read_volume(save(tmp_path / "a.nii.gz", numbers((*IJK, 1))))
    assert array.shape == grid.shape == (3, 5, 4)


@pytest.mark.parametrize(("values", "dtype"), [((0, 1, 255), "uint8"), ((0, 300), "int16")])
@pytest.mark.parametrize("stored", [np.uint16, np.float32, np.float64])
def test_a_label_is_read_as_small_integers(
    tmp_path: Path, values: tuple[int, ...], dtype: str, stored: type
) -> None:
    array = np.resize(values, IJK).astype(stored)
    label, _ = read_label(save(tmp_path / "a.nii.gz", array))
    assert label.dtype == dtype
    assert_array_equal(label, array.T)


def test_a_mask_that_was_stored_with_a_scaling_is_still_a_mask(tmp_path: Path) -> None:
    array = np.resize((0.0, 1.0, 2.0), IJK)
    image = Nifti1Image(array, np.eye(4))
    image.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "a.nii.gz")
    reread = np.asarray(Nifti1Image.from_filename(tmp_path / "a.nii.gz").dataobj)
    assert not np.array_equal(reread, np.round(reread)), "else this test shows nothing"
    assert_array_equal(read_label(tmp_path / "a.nii.gz").array, array.T)


@pytest.mark.parametrize("value", [0.5, -1, 40000, np.nan, np.inf])
def test_a_label_with_other_numbers_is_refused(tmp_path: Path, value: float) -> None:
    array = np.zeros(IJK, np.float32)
    array[1, 2, 0] = value
    with pytest.raises(DataError, match=rf"whole numbers from 0 on, found {value:g} .*in 1 vox"):
        read_label(save(tmp_path / "a.nii.gz", array), "c1")


def with_nan(path: Path) -> Path:
    array = numbers()
    array[0, 0, :2] = np.nan
    return save(path / "a.nii.gz", array)


def with_header(path: Path, offset: int, value: bytes) -> Path:
    """Overwrite bytes of the header, as a broken tool would leave them."""
    file = save(path / "a.nii", numbers())
    raw = bytearray(file.read_bytes())
    raw[offset : offset + len(value)] = value
    file.write_bytes(raw)
    return file


def cut(path: Path) -> Path:
    file = save(path / "a.nii.gz", numbers())
    file.write_bytes(file.read_bytes()[:-40])
    return file


def flipped(path: Path) -> Path:
    """Change one voxel inside the compressed stream, so that only the checksum knows."""
    file = save(path / "a.nii.gz", numbers((14, 15, 13)))
    raw = bytearray(gzip.decompress(file.read_bytes()))
    raw[9000] ^= 1
    file.write_bytes(gzip.compress(bytes(raw))[:-8] + file.read_bytes()[-8:])
    return file


def text(path: Path, name: str = "a.nii.gz") -> Path:
    (path / name).write_text("no scan")
    return path / name


def folder(path: Path) -> Path:
    (path / "a.nii.gz").mkdir()
    return path / "a.nii.gz"


def sheared(path: Path) -> Path:
    affine = np.diag([2.0, 3, 4, 1])
    affine[1, 2] = 1
    return save(path / "a.nii", numbers(), affine)


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda path: path / "a.nii.gz", "no such file"),
    "folder": (folder, "must be a .nii.gz or .nii file"),
    "another ending": (lambda path: text(path, "a.png"), "must be a .nii.gz or .nii file"),
    "text": (text, "must be readable NIfTI"),
    "empty": (lambda path: (path / "a.nii").touch() or path / "a.nii", "must be readable NIfTI"),
    "cut off": (cut, "must be readable NIfTI.*cut off"),
    "wrong checksum": (flipped, "must be readable NIfTI, found CRC check failed"),
    "wrong magic": (lambda path: with_header(path, 344, b"none"), "must be"),
    "unknown voxel type": (lambda path: with_header(path, 70, b"\x5d\x00"), "readable NIfTI"),
    "complex": (lambda path: save(path / "a.nii", numbers().astype(complex)), "not numbers"),
    "huge sides": (lambda path: with_header(path, 42, b"\xff\x7f" * 3), "readable NIfTI"),
    "unit": (lambda path: with_header(path, 123, b"\x07"), "lengths must be in mm"),
    "four-dimensional": (
        lambda path: save(path / "a.nii", numbers((*IJK, 2))),
        "three dimensions, found 4 x 5 x 3 x 2",
    ),
    "two-dimensional": (lambda path: save(path / "a.nii", numbers((4, 5))), "three dimensions"),
    "not a number": (with_nan, "finite numbers, found 2 NaN"),
    "zero spacing": (
        lambda path: with_header(path, 300, b"\0\0\0\0"),
        r"spacing must be positive, found \(2.0, 0.0, 4.0\)",
    ),
    "spacing not a number": (
        lambda path: with_header(path, 280, b"\x00\x00\xc0\x7f"),
        "spacing must be positive",
    ),
    "gantry tilt": (sheared, "right angles, found a shear of 14.0 degrees"),
}


@pytest.mark.parametrize("make", BAD)
def test_a_bad_file_is_one_clear_error(tmp_path: Path, make: str) -> None:
    write, message = BAD[make]
    path = write(tmp_path)
    with pytest.raises(DataError, match=message) as error:
        read_volume(path, "case 7")
    assert str(error.value).startswith(f"case case 7: {path}: ")
    assert "\n" not in str(error.value)


def test_damaged_headers_are_refused_or_read_but_never_crash(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    sound = save(tmp_path / "a.nii", numbers()).read_bytes()
    for _ in range(100):
        raw = bytearray(sound)
        for place in generator.integers(0, 352, 3):
            raw[place] = generator.integers(256)
        (tmp_path / "b.nii").write_bytes(raw)
        for read in (read_volume, read_label, read_grid, doubtful_position):
            try:
                read(tmp_path / "b.nii")
            except DataError:
                continue


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [("a.mha", (3, 5, 4), "must end in"), ("a.nii", (3, 4, 5), "the shape of its grid")],
)
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, name: str, shape: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        write_volume(tmp_path / name, numbers(shape), Grid.from_spacing((3, 5, 4), (1, 1, 1)))
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    # A limit on the size of files is the closest that a test comes to a full disk.
    path = write_volume(
        tmp_path / "a.nii.gz", numbers((3, 5, 4)), Grid.from_spacing((3, 5, 4), (1, 1, 1))
    )
    before = path.read_bytes()
    program = f"""
import resource
import numpy as np
from hilum.core.geometry import Grid
from hilum.datasets.io.nifti import write_volume
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
array = np.random.default_rng(0).normal(size=(30, 40, 50))
write_volume({str(path)!r}, array, Grid.from_spacing(array.shape, (1, 1, 1)))
"""
    ended = subprocess.run([python(), "-c", program], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "File too large" in ended.stderr
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
