"""Volumes equal what SimpleITK reads, and odd pixels and copies do not cost a series."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.core.errors import DataError
from hilum.datasets.dicom.volume import Slices, read_slices
from hilum.datasets.io.simpleitk import read_series

pytest.importorskip("pydicom")
sitk = pytest.importorskip("SimpleITK")
Write = Callable[..., list[Path]]


def turned(seed: int) -> tuple[float, ...]:
    """Return an orientation by a random rotation."""
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return tuple(float(x) for x in rotation[:2].ravel())


def same_as_simpleitk(slices: Slices, folder: Path) -> None:
    """Compare voxel by voxel, at the same place of the patient, whatever the order of slices."""
    theirs = read_series(folder)
    index = np.argwhere(np.ones(slices.grid.shape, bool))
    other = theirs.grid.to_index(slices.grid.to_world(index))
    nearest = np.round(other).astype(int)
    np.testing.assert_allclose(other, nearest, atol=1e-3)
    np.testing.assert_allclose(
        slices.array.ravel(), theirs.array[tuple(nearest.T)], rtol=1e-5, atol=1e-3
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["CT", "PT"])
def test_oblique_series_in_any_order_equal_simpleitk(
    dicom_series: Write, tmp_path: Path, kind: str, seed: int
) -> None:
    def each(number: int, data: Any) -> None:
        if kind == "PT":
            data.RescaleSlope = 0.3 + 0.1 * number

    files = dicom_series(tmp_path, kind, turn=turned(seed), each=each)
    order = np.random.default_rng(seed).permutation(len(files))
    slices = read_slices([files[i] for i in order])
    same_as_simpleitk(slices, tmp_path)
    assert [header.InstanceNumber for header in slices.headers] == [1, 2, 3, 4, 5, 6]
    assert not any("PixelData" in header for header in slices.headers), "memory is given back"


def test_twelve_bits_unsigned_and_signed_equal_simpleitk(
    dicom_series: Write, dicom_voxels: Callable, tmp_path: Path
) -> None:
    array = dicom_voxels("CT")
    for name, stored, sign in (
        ("unsigned", array, 0),
        ("signed", ((array - 1024) & 0x0FFF).astype(np.int16), 1),
    ):
        files = dicom_series(
            tmp_path / name, "CT", stored, BitsStored=12, HighBit=11, PixelRepresentation=sign
        )
        same_as_simpleitk(read_slices(files), tmp_path / name)


@pytest.mark.parametrize("codec", ["JPEG", "JPEG2000"])
def test_compressed_slices_are_read_by_whatever_decoder_there_is(
    dicom_series: Write, tmp_path: Path, codec: str
) -> None:
    import pydicom

    plain = dicom_series(tmp_path / "plain", "CT")
    (tmp_path / "small").mkdir()
    files = []
    for file in plain:
        # SimpleITK's JPEG is the lossless one of hospitals, which pydicom alone cannot read.
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.UseCompressionOn()
        writer.SetCompressor(codec)
        stream = tmp_path / "stream.dcm"
        writer.SetFileName(str(stream))
        header = pydicom.dcmread(file)
        writer.Execute(sitk.GetImageFromArray(header.pixel_array[None]))
        coded = pydicom.dcmread(stream)
        assert coded.file_meta.TransferSyntaxUID.is_compressed
        header.file_meta.TransferSyntaxUID = coded.file_meta.TransferSyntaxUID
        header.PixelData = coded.PixelData
        header["PixelData"].is_undefined_length = True
        header.save_as(tmp_path / "small" / file.name)
        files.append(tmp_path / "small" / file.name)
    one, two = read_slices(plain), read_slices(files)
    np.testing.assert_array_equal(one.array, two.array)
    assert one.grid.same_as(two.grid)


def test_run_length_coded_slices_are_read(dicom_series: Write, tmp_path: Path) -> None:
    import pydicom
    from pydicom.uid import RLELossless

    files = dicom_series(tmp_path, "CT")
    before = read_slices(files)
    for file in files:
        header = pydicom.dcmread(file)
        header.compress(RLELossless)
        header.save_as(file)
    np.testing.assert_array_equal(read_slices(files).array, before.array)


def test_padding_of_the_other_sign_is_padding(
    dicom_series: Write, dicom_voxels: Callable, tmp_path: Path
) -> None:
    def each(number: int, data: Any) -> None:
        data.add_new("PixelPaddingValue", "US", 65536 - 2000)

    array = dicom_voxels("CT")
    array[:, 0] = -2000
    slices = read_slices(dicom_series(tmp_path, "CT", array, each=each), fill=-1024.0)
    assert (slices.array[:, 0] == -1024).all()
    np.testing.assert_array_equal(slices.array[:, 1:], array[:, 1:] - 1024.0)
    assert not slices.notes


def test_padding_that_names_the_value_of_water_erases_nothing(
    dicom_series: Write, dicom_voxels: Callable, tmp_path: Path
) -> None:
    array = dicom_voxels("CT")
    array[:, 4, 4] = 1024  # 0 HU
    slices = read_slices(dicom_series(tmp_path, "CT", array, PixelPaddingValue=1024), fill=-1024.0)
    assert (slices.array[:, 4, 4] == 0).all()


def test_a_circle_of_minus_3024_becomes_air_with_a_note(
    dicom_series: Write, dicom_voxels: Callable, tmp_path: Path
) -> None:
    array = dicom_voxels("CT")
    array[:, 0] = -2000
    slices = read_slices(dicom_series(tmp_path, "CT", array), fill=-1024.0)
    assert slices.array.min() == -1024
    assert [note.text for note in slices.notes] == [
        "values below -1024 HU, down to -3024, became -1024"
    ]


def test_a_damaged_copy_of_a_slice_does_not_cost_the_series(
    dicom_series: Write, tmp_path: Path
) -> None:
    files = dicom_series(tmp_path, "CT")
    copy = tmp_path / "0 copy"
    copy.write_bytes(files[2].read_bytes()[:-50])
    for order in ([copy, *files], [*files, copy]):
        slices = read_slices(order)
        same = read_slices(files)
        np.testing.assert_array_equal(slices.array, same.array)
        assert [note.text for note in slices.notes] == [
            "1 damaged copies of slices were passed over"
        ]
    files[2].unlink()
    with pytest.raises(DataError, match="pixels must be readable"):
        read_slices([copy, *files[:2], *files[3:]])


def test_values_that_break_their_types_rules_warn_nobody(
    dicom_series: Write, tmp_path: Path
) -> None:
    def each(number: int, data: Any) -> None:
        data.add_new("StudyID", "SH", "a text that is far too long for its type")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files = dicom_series(tmp_path, "CT", each=each)
    # Warnings are errors in tests.
    assert read_slices(files).array.shape == (6, 10, 12)


@pytest.mark.parametrize("degrees", [3.0, -20.0])
def test_a_tilted_gantry_is_refused_with_its_angle(
    dicom_series: Write, tmp_path: Path, degrees: float
) -> None:
    def each(number: int, data: Any) -> None:
        data.ImagePositionPatient[1] += np.tan(np.deg2rad(degrees)) * 15 * number

    files = dicom_series(tmp_path, "CT", each=each, spacing=(15.0, 2.0, 1.5))
    with pytest.raises(DataError, match=rf"{abs(degrees)} degrees \(gantry tilt"):
        read_slices(files)


@pytest.mark.slow
def test_reading_takes_the_memory_of_one_volume(dicom_series: Write, tmp_path: Path) -> None:
    import tracemalloc

    array = np.zeros((60, 256, 256), np.int16)
    files = dicom_series(tmp_path, "CT", array)
    tracemalloc.start()
    slices = read_slices(files)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # numpy counts untouched pages of the new array, too: twice is once in truth.
    assert peak < 2.2 * slices.array.nbytes
