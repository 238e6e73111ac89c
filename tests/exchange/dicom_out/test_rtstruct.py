"""An RTSTRUCT gives back the mask that was written, read as any other RTSTRUCT is."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from hilum.core.errors import DataError
from hilum.datasets.dicom.contours import read_contours
from hilum.datasets.dicom.labels import NODE_NAMES, read_labels
from hilum.datasets.dicom.volume import read_slices
from hilum.datasets.io.nifti import read_label
from hilum.exchange.dicom_out import rtstruct as dicom_rtstruct
from hilum.exchange.dicom_out.regions import regions
from hilum.exchange.dicom_out.rtstruct import write_rtstruct

REAL = Path(os.environ.get("HILUM_REAL_DATA", Path(__file__).parents[4] / "shared/data/sts_petct"))


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("turn", ["STRAIGHT", "SLANTED"])
def test_regions_come_back_with_their_holes_and_parts(
    ct: ModuleType, tmp_path: Path, turn: str, descending: bool
) -> None:
    mask = ct.blobs()
    ct.write_ct(tmp_path / "ct", turn=getattr(ct, turn), descending=descending)
    grid = ct.grid_of(tmp_path / "ct")
    file = write_rtstruct(mask, grid, tmp_path / "ct", tmp_path / "out" / "rt.dcm")
    headers = read_slices(sorted((tmp_path / "ct").iterdir())).headers
    (ours,) = read_labels([file], {"1.2.3.1": (grid, headers)}, NODE_NAMES)
    np.testing.assert_array_equal(ours.mask, mask > 0)
    assert ours.notes == []
    labels, rows = regions(mask, grid)
    again = read_contours(dcmread(file), [row.number for row in rows], grid, [])
    for number, region in again:
        assert dice(region, labels == number) > 0.97
        assert abs(region.sum() / (labels == number).sum() - 1) < 0.03


def test_regions_are_named_coloured_and_drawn_on_their_slices(
    ct: ModuleType, tmp_path: Path
) -> None:
    ct.write_ct(tmp_path / "ct")
    grid = ct.grid_of(tmp_path / "ct")
    file = write_rtstruct(ct.blobs(), grid, tmp_path / "ct", tmp_path / "rt.dcm", algorithm="mine")
    made = dcmread(file)
    assert [item.ROIName for item in made.StructureSetROISequence] == [
        f"Lymph node {n}" for n in (1, 2, 3)
    ]
    assert [float(i.ROIVolume) for i in made.StructureSetROISequence] == pytest.approx(
        [59 * 0.009, 3 * 0.009, 0.009]
    )
    assert len({tuple(item.ROIDisplayColor) for item in made.ROIContourSequence}) == 3
    assert made.RTROIObservationsSequence[0].RTROIIdentificationCodeSequence[0].CodeValue == (
        "59441001"
    )
    assert (made.PatientID, made.PatientName, made.StudyInstanceUID) == ("P1", "Doe^Jane", "1.2.3")
    where = {str(dcmread(f).SOPInstanceUID): dcmread(f) for f in (tmp_path / "ct").iterdir()}
    for item in made.ROIContourSequence:
        for contour in item.ContourSequence:
            assert on_slice(contour, where)


def on_slice(contour: Dataset, where: dict[str, Dataset]) -> bool:
    """Say whether a contour lies in the plane of the slice that it refers to."""
    slice_ = where[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
    points = np.array(contour.ContourData, float).reshape(-1, 3)
    assert len(points) == contour.NumberOfContourPoints
    return bool((points[:, 2] == float(slice_.ImagePositionPatient[2])).all())


def test_a_hole_is_part_of_the_contour_around_it(ct: ModuleType, tmp_path: Path) -> None:
    ct.write_ct(tmp_path / "ct")
    mask = np.zeros(ct.SHAPE, np.uint8)
    mask[2, 1:8, 2:9] = 1
    mask[2, 3, 4:6] = mask[2, 5, 6] = 0
    file = write_rtstruct(
        mask, ct.grid_of(tmp_path / "ct"), tmp_path / "ct", tmp_path / "rt.dcm", segments="classes"
    )
    (item,) = dcmread(file).ROIContourSequence
    (contour,) = item.ContourSequence
    assert contour.ContourGeometricType == "CLOSED_PLANAR"
    points = np.array(contour.ContourData, float).reshape(-1, 3)[:, :2]
    x, y = points.T
    area = abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))) / 2
    assert area == pytest.approx((49 - 3) * 2.0 * 1.5)


def test_long_contours_are_written_whole(ct: ModuleType, tmp_path: Path) -> None:
    mask = np.zeros((2, 120, 122), np.uint8)
    mask[:, 0] = mask[:, :, ::3] = mask[:, ::2, 1::3] = 1
    ct.write_ct(tmp_path / "ct", shape=mask.shape)
    grid = ct.grid_of(tmp_path / "ct")
    file = write_rtstruct(mask, grid, tmp_path / "ct", tmp_path / "rt.dcm", segments="classes")
    (item,) = dcmread(file).ROIContourSequence
    assert max(c.NumberOfContourPoints for c in item.ContourSequence) * 3 * 6 > 65536
    (found,) = read_contours(dcmread(file), [1], grid, [])
    np.testing.assert_array_equal(found[1], mask == 1)


def test_a_file_that_would_give_other_regions_is_not_written(
    ct: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ct.write_ct(tmp_path / "ct")
    right = dicom_rtstruct.outlines
    monkeypatch.setattr(dicom_rtstruct, "outlines", lambda part: [p + 1 for p in right(part)])
    with pytest.raises(DataError, match=r"must hold the regions.*Lymph node 1 with Dice 0"):
        write_rtstruct(
            ct.blobs(), ct.grid_of(tmp_path / "ct"), tmp_path / "ct", tmp_path / "rt.dcm"
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ct"]


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.skipif(not (REAL / "dicom").is_dir(), reason="no real patients here")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_tumour_of_a_real_patient_comes_back(tmp_path: Path) -> None:
    folder = REAL / "dicom/STS_007/CT/image"
    label = read_label(REAL / "cases/STS_007/label.nii.gz")
    file = write_rtstruct(
        label.array, label.grid, folder, tmp_path / "rt.dcm", names={1: "GTV tumour"}
    )
    scan = read_slices(sorted(folder.iterdir()))
    series = {str(scan.headers[0].SeriesInstanceUID): (scan.grid, scan.headers)}
    (ours,) = read_labels([file], series, {"GTV tumour*": 1})
    (drawn,) = read_labels([folder.parent / "mask/RS.dcm"], series, {"GTV_Mass*": 1})
    np.testing.assert_array_equal(ours.mask, drawn.mask)
