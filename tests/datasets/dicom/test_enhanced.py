"""Enhanced files, many frames in one, give the volume of the classic files they came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.datasets.dicom.choose import choose
from hilum.datasets.dicom.headers import crawl
from hilum.datasets.dicom.series import group
from hilum.datasets.dicom.volume import read_slices
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import read_volume
from hilum.datasets.manifest import read_manifest

pydicom = pytest.importorskip("pydicom")
Write = Callable[..., list[Path]]
ENHANCED = {
    "CT": "LegacyConvertedEnhancedCTImage",
    "PT": "LegacyConvertedEnhancedPETImage",
    "MR": "LegacyConvertedEnhancedMRImage",
}
REQUIRED: dict[str, Any] = {
    "PatientName": "",
    "PatientBirthDate": "",
    "PatientSex": "F",
    "StudyTime": "101500",
    "StudyID": "",
    "AccessionNumber": "",
    "ReferringPhysicianName": "",
    "Manufacturer": "maker",
    "ContentDate": "20240102",
    "ContentTime": "101500",
    "AcquisitionDate": "20240102",
    "AcquisitionTime": "101500",
    "PositionReferenceIndicator": "",
}


def convert(files: list[Path], kind: str, target: Path) -> Path:
    """Write classic files as one legacy converted enhanced file, by highdicom."""
    legacy = pytest.importorskip("highdicom.legacy")
    from pydicom.uid import ExplicitVRLittleEndian

    image = getattr(legacy, ENHANCED[kind])(
        [pydicom.dcmread(file) for file in files],
        series_instance_uid="1.2.3.44",
        series_number=44,
        sop_instance_uid="1.2.3.45",
        instance_number=1,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    image.save_as(target)
    return target


@pytest.mark.parametrize("kind", ["CT", "PT", "MR"])
def test_an_enhanced_file_gives_the_volume_of_its_classic_ones(
    dicom_series: Write, tmp_path: Path, kind: str
) -> None:
    def each(number: int, data: Any) -> None:
        if kind == "PT":
            data.RescaleSlope = 0.25 * (number + 1)

    turn = (1, 0, 0, 0, float(np.cos(0.3)), float(np.sin(0.3)))
    files = dicom_series(tmp_path / "in", kind, each=each, turn=turn, **REQUIRED)
    one = convert(files[::-1], kind, tmp_path / "out" / "enhanced")
    classic, enhanced = read_slices(files), read_slices([one] * 6)
    np.testing.assert_allclose(enhanced.array, classic.array)
    assert enhanced.grid.same_as(classic.grid, 1e-4)
    assert len(enhanced.headers) == 6
    (series,) = group(crawl(tmp_path / "out").headers)
    assert (series.kind, len(series.headers), series.enhanced) == (kind, 6, True)
    assert series.gap_mm == pytest.approx(3.0, abs=1e-3)


def test_an_enhanced_pair_is_imported_with_its_suv(dicom_series: Write, tmp_path: Path) -> None:
    volumes = {}
    for root in ("classic", "enhanced"):
        for number, kind in enumerate(("CT", "PT"), 1):
            tags = {**REQUIRED, "uid": f"1.2.3.{number}"}
            files = dicom_series(tmp_path / "classic" / kind, kind, **tags)
            if root == "enhanced":
                convert(files, kind, tmp_path / root / kind)
                pair = pydicom.dcmread(tmp_path / root / kind)
                pair.SeriesInstanceUID = f"1.2.3.{number + 60}"
                pair.save_as(tmp_path / root / kind)
        manifest = import_cohort("dicom", tmp_path / root, tmp_path / f"{root} out")
        (case,) = read_manifest(manifest)
        volumes[root] = {name: read_volume(file) for name, file in case.volumes.items()}
    assert set(volumes["enhanced"]) == {"ct", "pet"}
    for name, volume in volumes["enhanced"].items():
        np.testing.assert_allclose(volume.array, volumes["classic"][name].array, rtol=1e-5)


def test_two_time_points_in_one_file_are_refused_with_the_reason(
    dicom_series: Write, tmp_path: Path
) -> None:
    files = []
    for time in (1, 2):
        files += dicom_series(
            tmp_path / str(time), "MR", TemporalPositionIdentifier=time, **REQUIRED
        )
    for number, file in enumerate(files):
        data = pydicom.dcmread(file)
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{number}"
        data.save_as(file)
    convert(files, "MR", tmp_path / "out" / "enhanced")
    choice = choose(group(crawl(tmp_path / "out").headers), {})
    assert not choice.volumes
    assert all("several volumes in one file" in reason for _, reason in choice.reasons)
