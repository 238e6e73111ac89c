"""Every DICOM file of a messy tree is found, and slices are grouped into volumes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.datasets.dicom.headers import Header, crawl
from hilum.datasets.dicom.series import group
from hilum.datasets.dicom.volume import read_slices

pydicom = pytest.importorskip("pydicom")
Write = Callable[..., list[Path]]


def test_the_text_of_each_tag_is_what_the_library_says(dicom_series: Write, tmp_path: Path) -> None:
    files = dicom_series(
        tmp_path, "PT", SpecificCharacterSet="ISO_IR 192", SeriesDescription="Ganzkörper ⅡA",
        ProtocolName=" two  words ",
    )  # fmt: skip
    found = {header.file: header for header in crawl(tmp_path).headers}
    for file in files:
        data, header = pydicom.dcmread(file), found[file]
        assert header["SeriesDescription"] == "Ganzkörper ⅡA"
        assert header["ProtocolName"] == "two  words"
        assert (header["Rows"], header["Columns"]) == ("10", "12")
        assert header.words("CorrectedImage") == ["ATTN", "DECY", "SCAT"]
        assert header.numbers("ImagePositionPatient", 3) == tuple(data.ImagePositionPatient)
        assert header["SOPInstanceUID"] == data.SOPInstanceUID


@pytest.mark.parametrize(
    "name",
    ["ImplicitVRLittleEndian", "DeflatedExplicitVRLittleEndian"],
)
def test_other_transfer_syntaxes_are_read(
    dicom_series: Write, dicom_voxels: Callable, tmp_path: Path, name: str
) -> None:
    def each(number: int, data: Any) -> None:
        data.file_meta.TransferSyntaxUID = getattr(pydicom.uid, name)

    files = dicom_series(tmp_path, "CT", each=each)
    (series,) = group(crawl(tmp_path).headers)
    assert (len(series.headers), series.gap_mm, series.first["Rows"]) == (6, 3.0, "10")
    np.testing.assert_array_equal(read_slices(files).array, dicom_voxels("CT") - 1024.0)


def test_files_without_preamble_are_found_and_other_files_counted(
    dicom_series: Write, tmp_path: Path
) -> None:
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    for file in dicom_series(tmp_path / "deep" / "er", "CT"):
        stream = DicomBytesIO()
        stream.is_little_endian, stream.is_implicit_VR = True, True
        write_dataset(stream, pydicom.dcmread(file))
        file.write_bytes(stream.getvalue())
    (tmp_path / "zip.dcm").write_bytes(b"PK" + b"\0" * 300)
    (tmp_path / "empty").touch()
    (tmp_path / "eight").write_bytes(b"\x08\0" + b"a text by chance " * 20)
    found = crawl(tmp_path)
    assert len(found.headers) == 6
    assert found.other + len(found.unreadable) == 3


def test_a_directory_file_is_no_series(dicom_series: Write, tmp_path: Path) -> None:
    first, *_ = dicom_series(tmp_path, "CT")
    data = pydicom.dcmread(first)
    directory = pydicom.Dataset()
    directory.file_meta = data.file_meta
    directory.file_meta.MediaStorageSOPClassUID = pydicom.uid.MediaStorageDirectoryStorage
    directory.FileSetID, directory.DirectoryRecordSequence = "SET", []
    directory.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    found = crawl(tmp_path)
    assert (len(found.headers), found.other, found.unreadable) == (6, 1, {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folders_that_may_not_be_read_are_named(dicom_series: Write, tmp_path: Path) -> None:
    dicom_series(tmp_path / "good", "CT")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    found = crawl(tmp_path)
    closed.chmod(0o700)
    assert len(found.headers) == 6
    assert list(found.unreadable) == [str(closed)]


def test_a_link_to_a_folder_is_followed_once(dicom_series: Write, tmp_path: Path) -> None:
    dicom_series(tmp_path / "elsewhere", "CT")
    (tmp_path / "in" / "a").mkdir(parents=True)
    for name in ("one", "two", "a/three"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "a" / "loop").symlink_to(tmp_path / "in")
    assert len(crawl(tmp_path / "in").headers) == 6


def test_echoes_at_the_same_places_are_parted(dicom_series: Write, tmp_path: Path) -> None:
    for echo in (12.0, 96.0):
        dicom_series(
            tmp_path / str(echo), "MR", EchoTime=echo,
            each=lambda n, data, echo=echo: setattr(data, "SOPInstanceUID", f"1.2.{n}.{echo:.0f}"),
        )  # fmt: skip
    parts = group(crawl(tmp_path).headers)
    assert sorted(part.part for part in parts) == ["EchoTime 12.0", "EchoTime 96.0"]


def test_a_tree_that_is_there_twice_is_parted_by_acquisition_all_the_same(
    dicom_series: Write, tmp_path: Path
) -> None:
    for number in (1, 2):
        dicom_series(
            tmp_path / "in" / str(number), "CT", AcquisitionNumber=number,
            each=lambda n, data, k=number: setattr(data, "SOPInstanceUID", f"1.2.{n}.{k}"),
        )  # fmt: skip
    shutil.copytree(tmp_path / "in", tmp_path / "copy")
    parts = group(crawl(tmp_path).headers)
    assert {part.part: len(part.headers) for part in parts} == {
        "AcquisitionNumber 1": 12,
        "AcquisitionNumber 2": 12,
    }
    files = [header.file for header in parts[0].headers]
    assert read_slices(files).array.shape == (6, 10, 12)


def test_directions_that_differ_by_rounding_stay_together_and_others_part() -> None:
    def header(number: int, slope: str, pixel: str = "1.5") -> Header:
        tags = {
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
            "SeriesInstanceUID": "1",
            "Rows": "4",
            "Columns": "5",
            "ImageOrientationPatient": f"1\\0\\0\\0\\1\\{slope}",
            "ImagePositionPatient": f"0\\0\\{2 * number}",
            "PixelSpacing": f"{pixel}\\{pixel}",
            "SOPInstanceUID": str(number),
        }
        return Header(Path(str(number)), tags)

    close = [header(0, "0.00499999"), header(1, "0.00500001"), header(2, "-0.0")]
    assert [len(series.headers) for series in group(close)] == [3]
    apart = [*close, header(3, "0.1"), header(4, "0", "1.6")]
    assert sorted(len(series.headers) for series in group(apart)) == [1, 1, 3]


@pytest.mark.parametrize(
    "tag",
    ["SeriesInstanceUID", "Modality", "PatientID", "Rows", "PixelSpacing", "StudyDate",
     "ImagePositionPatient", "NumberOfFrames", "SOPInstanceUID"],
)  # fmt: skip
@pytest.mark.parametrize("kind", [b"QQ", b"\xff\xfe", b"SQ", b"OB"])
def test_a_kind_of_value_that_is_damaged_stops_no_other_file(
    dicom_series: Write, tmp_path: Path, tag: str, kind: bytes
) -> None:
    """The two letters that say how a tag is written; the library raises when the tag is asked."""
    files = dicom_series(tmp_path, "CT", NumberOfFrames=1)
    number = pydicom.datadict.tag_for_keyword(tag)
    start = (number >> 16).to_bytes(2, "little") + (number & 0xFFFF).to_bytes(2, "little")
    content = files[0].read_bytes()
    place = content.index(start, 132)
    files[0].write_bytes(content[: place + 4] + kind + content[place + 6 :])
    found = crawl(tmp_path)
    assert {header.file for header in found.headers} >= set(files[1:])
    assert set(found.unreadable) <= {str(files[0])}
