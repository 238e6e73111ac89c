"""Headers as they are stored: what nibabel would mend in silence is refused, or noted."""

from __future__ import annotations

import gzip
import logging
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest

from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import read_grid, read_volume, write_volume
from hilum.datasets.io.nifti_header import notes_on_header

GRID = Grid.from_spacing((4, 6, 5), (4.0, 0.98, 1.2), (-11, 7, 100))
PLACES = {
    "dim": (40, "8h"), "pixdim": (76, "8f"), "slope": (112, "f"), "inter": (116, "f"),
    "units": (123, "b"), "qform": (252, "h"), "sform": (254, "h"), "quatern": (256, "3f"),
    "offset": (268, "3f"), "srow": (280, "12f"),
}  # fmt: skip
"""Where each field lies in the 348 bytes of nifti1.h, and its type."""


def stored(path: Path, **fields: object) -> Path:
    """Write a scan and change its header byte by byte; a dictionary changes single entries."""
    array = np.arange(120, dtype=np.int16).reshape(GRID.shape)
    write_volume(path, array, GRID)
    data = bytearray(gzip.decompress(path.read_bytes()))
    for name, value in fields.items():
        start, kind = PLACES[name]
        values = list(struct.unpack_from(f"<{kind}", data, start))
        for index, one in (value if isinstance(value, dict) else {0: value}).items():
            values[index] = one
        struct.pack_into(f"<{kind}", data, start, *values)
    path.write_bytes(gzip.compress(bytes(data)))
    return path


REFUSED: dict[str, tuple[dict, str]] = {
    "no slice spacing, qform only": (
        {"pixdim": {3: 0.0}, "sform": 0}, r"spacing must be positive, found pixdim\[3\] 0",
    ),
    "a negative spacing, qform only": ({"pixdim": {1: -1.2}, "sform": 0}, r"pixdim\[1\] -1.2"),
    "NaN for a spacing, qform only": ({"pixdim": {2: np.nan}, "sform": 0}, r"pixdim\[2\] nan"),
    "no spacing and no position": (
        {"pixdim": {1: 0.0}, "sform": 0, "qform": 0}, r"pixdim\[1\] 0",
    ),
    "a position of unknown code": ({"sform": 100}, "sform_code must be from 0 to 5, found 100"),
    "a negative code": ({"qform": -3, "sform": 0}, "qform_code must be from 0 to 5, found -3"),
    "qfac of 3, qform only": ({"pixdim": {0: 3.0}, "sform": 0}, "qfac .* must be -1 or 1"),
    "an infinite slope": ({"slope": np.inf, "inter": 0.0}, "scaling of voxels must be finite"),
    "an intercept of NaN": ({"slope": 2.0, "inter": np.nan}, "invalid intercept nan"),
    "an sform without a column": (
        {"srow": {0: 0.0, 4: 0.0, 8: 0.0}}, "spacing must be positive",
    ),
    "millimetres called metres": ({"units": 1}, r"spacing must be from 0.001 to 100 mm.*units"),
    "a unit of time": ({"units": 5}, "lengths must be in mm, found unit code 5"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_leaves_a_scan_open_is_refused(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fields, message = REFUSED[name]
    path = stored(tmp_path / "ct.nii.gz", **fields)
    for read in (read_grid, read_volume):
        with pytest.raises(DataError, match=message):
            read(path, "P1")
    assert capfd.readouterr() == ("", "")


NOTED: dict[str, tuple[dict, str, str]] = {
    "no slice spacing, with an sform": (
        {"pixdim": {3: 0.0}}, "warning", "pixdim[3] is 0, but 4 mm by the sform",
    ),
    "a negative spacing, with an sform": ({"pixdim": {1: -1.2}}, "warning", "pixdim[1] is -1.2"),
    "another spacing than the sform's": ({"pixdim": {3: 5.0}}, "warning", "pixdim[3] is 5"),
    "sform and qform that differ": ({"offset": {0: 40.0}}, "warning", "mm apart"),
    "neither sform nor qform": ({"sform": 0, "qform": 0}, "warning", "neither sform nor qform"),
    "a damaged qform": ({"quatern": {0: 7.0}}, "warning", "damaged qform"),
    "qfac of 0": ({"pixdim": {0: 0.0}, "sform": 0}, "info", "which counts as 1"),
    "an intercept without a slope": (
        {"slope": 0.0, "inter": -1024.0}, "warning", "scl_inter -1024 does not count",
    ),
    "NaN for a slope, with an intercept": (
        {"slope": np.nan, "inter": 5.0}, "warning", "scl_inter 5 does not count",
    ),
    "trailing dimensions": ({"dim": {0: 5, 4: 1, 5: 1}}, "info", "5 x 6 x 4 x 1 x 1, read as"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOTED)
def test_what_counts_by_a_rule_is_noted_and_reaches_the_import(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fields, severity, text = NOTED[name]
    (tmp_path / "in" / "P1").mkdir(parents=True)
    path = stored(tmp_path / "in" / "P1" / "ct.nii.gz", **fields)
    (note,) = notes_on_header(path, "P1")
    assert (note.severity, note.case) == (severity, "P1")
    assert text in note.text
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array.ravel(), np.arange(120))
    if severity == "info" or "pixdim" in text:
        np.testing.assert_allclose(volume.grid.spacing, GRID.spacing, rtol=1e-5)
    lines: list[str] = []
    import_cohort("folder", tmp_path / "in", tmp_path / "out", say=lines.append)
    assert any(text in line and line.startswith(severity) for line in lines)
    assert capfd.readouterr() == ("", "")


def test_microns_are_converted_and_noted(tmp_path: Path) -> None:
    spacing = {0: 1200.0, 5: 980.0, 10: 4000.0, 3: -11000.0, 7: 7000.0, 11: 100000.0}
    pixdim = {1: 1200.0, 2: 980.0, 3: 4000.0}
    path = stored(tmp_path / "ct.nii.gz", units=3, srow=spacing, pixdim=pixdim, qform=0)
    np.testing.assert_allclose(read_grid(path).spacing, GRID.spacing, rtol=1e-5)
    (note,) = notes_on_header(path)
    assert "converted to mm" in note.text


def test_a_sound_header_has_no_notes(tmp_path: Path) -> None:
    assert notes_on_header(stored(tmp_path / "ct.nii.gz")) == []
    # nibabel writes NaN for a slope where there is none.
    nibabel.save(
        nibabel.Nifti1Image(np.zeros((3, 4, 5), np.float32), np.eye(4)), tmp_path / "a.nii"
    )
    kinds = [note.kind for note in notes_on_header(tmp_path / "a.nii")]
    assert "scaling that does not count" not in kinds


def test_the_log_is_silent_for_our_reading_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = stored(tmp_path / "ct.nii.gz", pixdim={1: -1.2})
    with caplog.at_level(logging.DEBUG, "nibabel.global"):
        read_volume(path)
        assert caplog.records == []
        nibabel.load(path)
    assert any("pixdim" in record.message for record in caplog.records)
