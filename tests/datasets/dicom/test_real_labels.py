"""The tumour of a real patient is the mask that others made of its contours."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from hilum.datasets.dicom.labels import read_labels
from hilum.datasets.dicom.volume import read_slices
from hilum.datasets.io.nifti import read_label

REAL = Path(os.environ.get("HILUM_REAL_DATA", Path(__file__).parents[4] / "shared/data/sts_petct"))
LABELS = [("CT", "label"), ("PET", "label_pet"), ("MR_T1", "label_mr")]
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not (REAL / "dicom").is_dir(), reason="no real patients here"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.mark.parametrize(("modality", "label"), LABELS)
def test_a_tumour_is_found_on_the_grid_of_a_cropped_scan(modality: str, label: str) -> None:
    folder = REAL / "dicom/STS_007" / modality
    headers = [dcmread(f, stop_before_pixels=True) for f in sorted((folder / "image").iterdir())]
    expected = read_label(REAL / "cases/STS_007" / f"{label}.nii.gz")
    series = {str(headers[0].SeriesInstanceUID): (expected.grid, headers)}
    (found,) = read_labels([folder / "mask/RS.dcm"], series, {"GTV_Mass*": 1})
    np.testing.assert_array_equal(found.mask, expected.array)
    assert found.notes == []


@pytest.mark.parametrize(("modality", "label"), LABELS)
def test_a_tumour_lies_at_the_same_place_on_the_whole_scan(modality: str, label: str) -> None:
    folder = REAL / "dicom/STS_007" / modality
    scan = read_slices(sorted((folder / "image").iterdir()))
    series = {str(scan.headers[0].SeriesInstanceUID): (scan.grid, scan.headers)}
    (found,) = read_labels([folder / "mask/RS.dcm"], series, {"GTV_Mass*": 1})
    expected = read_label(REAL / "cases/STS_007" / f"{label}.nii.gz")
    marked = expected.grid.to_index(scan.grid.to_world(np.argwhere(found.mask)))
    index = np.round(marked).astype(int)
    np.testing.assert_allclose(marked, index, atol=0.02)
    again = np.zeros(expected.grid.shape, np.uint8)
    again[tuple(index.T)] = 1
    np.testing.assert_array_equal(again, expected.array)
