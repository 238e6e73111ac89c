"""NIH masks along L, P, S fall on the right place of scans with any order of axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import read_label, read_volume, write_volume
from hilum.datasets.manifest import read_manifest

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("SimpleITK")

ROWS, COLUMNS, SLICES = 7, 9, 5
SPACING = (0.8, 0.9, 2.0)
ORIGIN = (-30.0, -40.0, 100.0)
"""Of the first slice, in LPS."""


def blob() -> np.ndarray:
    """Return a mask `[i, j, k]` along L, P, S without any symmetry; two nodes that touch."""
    array = np.zeros((COLUMNS, ROWS, SLICES), np.uint8)
    array[1:4, 2:4, 1] = 1
    array[1, 2:6, 2] = 2
    array[6:8, 1, 4] = 3
    return array


def write_mask(root: Path, name: str, origin: tuple[float, float, float] = (0, 0, 0)) -> None:
    import nibabel

    folder = root / "MED_ABD_LYMPH_MASKS" / name
    folder.mkdir(parents=True)
    affine = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])
    affine[:3, 3] = origin
    nibabel.save(nibabel.Nifti1Image(blob(), affine), folder / f"{name}_mask.nii.gz")


def write_series(folder: Path, patient: str) -> None:
    """Write a CT whose value is high where the mask is, slices in no order of their names."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir(parents=True)
    series = generate_uid(entropy_srcs=[patient])
    for k in range(SLICES):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
        data.SOPInstanceUID = generate_uid(entropy_srcs=[patient, str(k)])
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.SeriesInstanceUID, data.PatientID, data.Modality = series, patient, "CT"
        data.Rows, data.Columns = ROWS, COLUMNS
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 1
        data.PixelSpacing, data.SliceThickness = [SPACING[1], SPACING[0]], SPACING[2]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [ORIGIN[0], ORIGIN[1], ORIGIN[2] + k * SPACING[2]]
        data.RescaleSlope, data.RescaleIntercept = 1, -1024
        # Rows run towards posterior, columns towards left: [j, i] of the mask.
        values = np.where(blob()[:, :, k].T > 0, 1024 + 50 + k, 24).astype(np.int16)
        data.PixelData = values.tobytes()
        data.save_as(folder / f"1-{(k * 3) % SLICES + 1:02d}.dcm", enforce_file_format=True)


def write_nifti(path: Path, flips: tuple[int, int, int], order: tuple[int, int, int]) -> None:
    """Write the same CT as NIfTI with other axes; RAS, with any order and direction of axes."""
    array = np.where(blob() > 0, 50 + np.arange(SLICES), -1000).astype(np.int16)
    affine = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])
    affine[:3, 3] = -ORIGIN[0], -ORIGIN[1], ORIGIN[2]
    for axis, flip in enumerate(flips):
        if flip:
            affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
            affine[:3, axis] *= -1
            array = np.flip(array, axis)
    array, affine = array.transpose(order), affine[:, [*order, 3]]
    grid = Grid(array.shape[::-1], affine[:, [2, 1, 0, 3]])
    write_volume(path, np.ascontiguousarray(array.transpose(2, 1, 0)), grid)


def check_place(label: Path, ct: Path) -> None:
    """The mask marks exactly the voxels that were made bright under it, in the same grid."""
    mask, scan = read_label(label), read_volume(ct)
    assert mask.grid.same_as(scan.grid, 1e-3)
    assert mask.array.sum() == (blob() > 0).sum()
    np.testing.assert_array_equal(mask.array > 0, scan.array > 0)


def test_a_dicom_scan_gets_its_mask_on_the_right_place(tmp_path: Path) -> None:
    root = tmp_path / "nih"
    study = "09-14-2014-MEDLYMPH001-mediastinallymphnodes-12345/mediastinallymphnodes-678"
    write_mask(root, "MED_LYMPH_001")
    write_series(root / "CT Lymph Nodes" / "MED_LYMPH_001" / study, "MED_LYMPH_001")
    write_mask(root, "ABD_LYMPH_002", origin=(5.0, 6.0, 7.0))
    write_series(root / "dicom" / "1.3.6.1.4.1.9328.50.99", "ABD_LYMPH_002")
    cases = read_manifest(import_cohort("nih_nodes", root, tmp_path / "out"))
    assert [(case.id, case.partial) for case in cases] == [
        ("ABD_LYMPH_002", True),
        ("MED_LYMPH_001", True),
    ]
    for case in cases:
        check_place(case.label or Path(), case.volumes["ct"])
    scan = read_volume(cases[0].volumes["ct"])
    assert set(np.unique(scan.array)) == {-1000.0, 51.0, 52.0, 54.0}
    np.testing.assert_allclose(
        scan.grid.to_world((0, 0, 0)), (-ORIGIN[0], -ORIGIN[1], ORIGIN[2]), atol=1e-3
    )


@pytest.mark.parametrize("flips", [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_a_nifti_scan_with_any_axes_gets_its_mask_on_the_right_place(
    tmp_path: Path, flips: tuple[int, int, int], order: tuple[int, int, int]
) -> None:
    root = tmp_path / "nih"
    write_mask(root, "MED_LYMPH_001")
    write_nifti(root / "ct" / "MED_LYMPH_001" / "scan.nii.gz", flips, order)
    (case,) = read_manifest(import_cohort("nih_nodes", root, tmp_path / "out"))
    check_place(case.label or Path(), case.volumes["ct"])


def test_what_an_import_wrote_inside_the_folder_is_not_read_again(tmp_path: Path) -> None:
    write_mask(tmp_path, "MED_LYMPH_001")
    write_nifti(tmp_path / "MED_LYMPH_001.nii.gz", (1, 0, 0), (0, 1, 2))
    for _ in range(2):
        path = import_cohort("nih_nodes", tmp_path, tmp_path / "work")
        record = (path.parent / "cases" / "MED_LYMPH_001" / "inputs.json").read_text()
        assert str(tmp_path / "MED_LYMPH_001.nii.gz") in record


def test_a_case_that_lacks_something_is_left_out(tmp_path: Path) -> None:
    root = tmp_path / "nih"
    for name in ("MED_LYMPH_001", "MED_LYMPH_002", "MED_LYMPH_003"):
        write_mask(root, name)
    write_nifti(root / "MED_LYMPH_001.nii.gz", (0, 0, 0), (0, 1, 2))
    grid = Grid.from_spacing((SLICES, ROWS, COLUMNS + 1), (2.0, 0.9, 0.8))
    write_volume(root / "MED_LYMPH_002.nii.gz", np.zeros(grid.shape, np.int16), grid)
    write_nifti(root / "ABD_LYMPH_004.nii.gz", (0, 0, 0), (0, 1, 2))
    lines: list[str] = []
    path = import_cohort("nih_nodes", root, tmp_path / "out", say=lines.append)
    assert [case.id for case in read_manifest(path)] == ["MED_LYMPH_001"]
    text = "\n".join(lines)
    assert "case MED_LYMPH_003: a case must have a CT" in text
    assert "case ABD_LYMPH_004: a case must have a mask" in text
    assert "as many voxels as its scan, found (5, 7, 9), (5, 7, 10)" in text
    with pytest.raises(DataError, match=f"must hold MED_ABD_LYMPH_MASKS.*; try {root}"):
        import_cohort("nih_nodes", root / "MED_ABD_LYMPH_MASKS", tmp_path / "out")


def test_a_series_with_a_missing_slice_is_left_out(tmp_path: Path) -> None:
    for name in ("MED_LYMPH_001", "MED_LYMPH_002"):
        write_mask(tmp_path, name)
        write_series(tmp_path / "CT" / name, name)
    sorted((tmp_path / "CT" / "MED_LYMPH_002").glob("*.dcm"))[1].unlink()
    lines: list[str] = []
    path = import_cohort("nih_nodes", tmp_path, tmp_path / "out", say=lines.append)
    assert [case.id for case in read_manifest(path)] == ["MED_LYMPH_001"]
    assert "case MED_LYMPH_002: " in lines[-1]
    assert "no slice may be missing, found 1 missing" in lines[-1]
