"""What only SimpleITK reads comes with the right geometry, or as one line that says why not."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from hilum.core.errors import DataError, UserError
from hilum.datasets.io.simpleitk import read_image, read_series

sitk = pytest.importorskip("SimpleITK")


def write(path: Path, array: np.ndarray, vector: bool = False) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=vector), str(path))
    return path


def test_voxels_keep_their_type_and_the_world_becomes_ras(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([0.5, 0.7, 3.0])
    image.SetOrigin([10.0, 20.0, 30.0])
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    volume = read_image(tmp_path / "a.mha")
    np.testing.assert_array_equal(volume.array, array)
    assert volume.array.dtype == np.uint16
    assert volume.grid.spacing == pytest.approx((3.0, 0.7, 0.5))
    np.testing.assert_allclose(volume.grid.to_world((1, 2, 3)), (-11.5, -21.4, 33.0), atol=1e-6)


def test_what_is_no_volume_is_refused_in_one_line(tmp_path: Path) -> None:
    flat = write(tmp_path / "flat.nrrd", np.zeros((3, 4), np.uint8))
    vectors = write(tmp_path / "vectors.nrrd", np.zeros((2, 3, 4, 2), np.uint8), vector=True)
    (tmp_path / "cut.nrrd").write_bytes(flat.read_bytes()[:60])
    for path, message in (
        (flat, "found 2 dimensions, 1 numbers"),
        (vectors, "found 3 dimensions, 2 numbers"),
        (tmp_path / "cut.nrrd", "the file must be readable"),
        (tmp_path / "none.nrrd", "no such file"),
    ):
        with pytest.raises(DataError, match=message) as error:
            read_image(path, "a")
        assert str(error.value).startswith(f"case a: {path}: ")
        assert "\n" not in str(error.value)


def test_a_folder_without_a_series_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(b"no DICOM")
    with pytest.raises(DataError, match="must hold a DICOM series, found 0 slices"):
        read_series(tmp_path)


def test_a_missing_library_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(
        UserError, match=r"SimpleITK must be installed .*pip install hilum\[dicom\]"
    ):
        read_image(tmp_path / "a.nrrd")
