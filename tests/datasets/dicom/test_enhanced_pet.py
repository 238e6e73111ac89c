"""An Enhanced PET Image (PS3.3 A.56), written tag by tag, is read in SUV where it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.core.errors import DataError
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import read_volume
from hilum.datasets.manifest import read_manifest

pydicom = pytest.importorskip("pydicom")
FRAMES, SIDE = 5, 6
WEIGHT_KG, DOSE_BQ, HALF_LIFE_S, WAIT_S = 80.0, 3.7e8, 6586.2, 3600.0
BW = WEIGHT_KG * 1000 / (DOSE_BQ * 2 ** (-WAIT_S / HALF_LIFE_S))
"""From Bq/ml, corrected to an hour after the injection, to g/ml (QIBA's pseudo-code)."""
STORED = np.random.default_rng(3).integers(0, 3000, (FRAMES, SIDE, SIDE)).astype(np.uint16)
SLOPES = 1.5 + np.arange(FRAMES)


def item(**tags: Any) -> Any:
    data = pydicom.Dataset()
    for name, value in tags.items():
        setattr(data, name, value)
    return data


def write(file: Path, unit: str, own_slopes: bool, decay_to: str, **tags: Any) -> Path:
    """Write frames from the head down, each 4 mm below the one before it.

    Args:
        file: Where to.
        unit: UCUM code of the real world values.
        own_slopes: Whether each frame has a slope of its own, or all share the first.
        decay_to: DecayCorrectionDateTime.
        tags: Of the whole file.
    """
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.EnhancedPETImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3.4.5"
    data = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3.4.5"
    data.Modality, data.PatientID, data.PatientWeight, data.PatientSex = "PT", "P1", WEIGHT_KG, "M"
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    data.FrameOfReferenceUID, data.SeriesDescription = "1.2.9", "PET WB"
    data.StudyDate = data.SeriesDate = data.ContentDate = "20240102"
    data.SeriesTime = data.ContentTime = "101500"
    data.AcquisitionDateTime, data.DecayCorrectionDateTime = "20240102101500", decay_to
    data.ImageType, data.Manufacturer = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "maker"
    data.AttenuationCorrected = data.DecayCorrected = "YES"
    data.RadiopharmaceuticalInformationSequence = [
        item(
            RadiopharmaceuticalStartDateTime="20240102091500",
            RadionuclideTotalDose=DOSE_BQ,
            RadionuclideHalfLife=HALF_LIFE_S,
            RadionuclideCodeSequence=[item(CodeValue="C-111A1", CodingSchemeDesignator="SRT")],
        )
    ]
    data.Rows = data.Columns = SIDE
    data.NumberOfFrames, data.SamplesPerPixel = FRAMES, 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0

    def mapping(slope: float) -> list[Any]:
        codes = [item(CodeValue=unit, CodingSchemeDesignator="UCUM", CodeMeaning=unit)]
        return [
            item(
                RealWorldValueFirstValueMapped=0,
                RealWorldValueLastValueMapped=65535,
                RealWorldValueSlope=slope,
                RealWorldValueIntercept=0.0,
                MeasurementUnitsCodeSequence=codes,
            )
        ]

    data.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[item(PixelSpacing=[2.0, 3.0], SliceThickness=4.0)],
            PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        )
    ]
    data.PerFrameFunctionalGroupsSequence = [
        item(
            FrameContentSequence=[
                item(
                    FrameAcquisitionDateTime=f"2024010210{15 + frame:02d}00",
                    DimensionIndexValues=[frame + 1],
                    StackID="1",
                    InStackPositionNumber=frame + 1,
                )
            ],
            PlanePositionSequence=[item(ImagePositionPatient=[-10.0, -20.0, 100.0 - 4 * frame])],
            PixelValueTransformationSequence=[
                item(RescaleSlope=1.0, RescaleIntercept=0.0, RescaleType="US")
            ],
            RealWorldValueMappingSequence=mapping(float(SLOPES[frame if own_slopes else 0])),
        )
        for frame in range(FRAMES)
    ]
    for name, value in tags.items():
        setattr(data, name, value)
    data.PixelData = STORED.tobytes()
    file.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(file, enforce_file_format=True)
    return file


def imported(root: Path, out: Path) -> Any:
    (case,) = read_manifest(import_cohort("dicom", root, out))
    return read_volume(case.volumes["pet"])


AT_SCAN, AT_INJECTION = "20240102101500", "20240102091500"


@pytest.mark.parametrize(
    ("unit", "own_slopes", "decay_to", "factor"),
    [
        ("Bq/ml", True, AT_SCAN, BW),
        ("Bq/mL", False, AT_SCAN, BW),
        # Corrected back to the injection: the dose has not decayed by then.
        ("Bq/ml", True, AT_INJECTION, WEIGHT_KG * 1000 / DOSE_BQ),
        ("{SUVbw}g/ml", True, AT_SCAN, 1.0),
        ("{SUVbw}g/mL", False, AT_SCAN, 1.0),
        ("g/ml", False, AT_SCAN, 1.0),
    ],
)
def test_frames_become_suv(
    tmp_path: Path, unit: str, own_slopes: bool, decay_to: str, factor: float
) -> None:
    write(tmp_path / "in" / "pet", unit, own_slopes, decay_to)
    volume = imported(tmp_path / "in", tmp_path / "out")
    slopes = SLOPES if own_slopes else np.full(FRAMES, SLOPES[0])
    expected = STORED * slopes[:, None, None] * factor
    assert sorted(volume.grid.spacing) == pytest.approx([2, 3, 4])
    for frame, row, column in ((0, 0, 0), (0, 5, 2), (4, 1, 5), (2, 3, 4)):
        # LPS to RAS: x and y change their signs.
        place = [10.0 - 3 * column, 20.0 - 2 * row, 100.0 - 4 * frame]
        index = volume.grid.to_index(place)
        np.testing.assert_allclose(index, np.round(index), atol=1e-4)
        at = tuple(np.round(index).astype(int))
        assert volume.array[at] == pytest.approx(expected[frame, row, column], rel=1e-5)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"DecayCorrected": "NO"}, "DECY"),
        ({"AttenuationCorrected": "NO"}, "not corrected for attenuation"),
        ({"PatientWeight": None}, "PatientWeight"),
        ({"DecayCorrectionDateTime": "20240102071500"}, "must start within 6.0 h after"),
    ],
)
def test_what_is_not_corrected_or_missing_is_refused(
    tmp_path: Path, tags: dict[str, Any], reason: str
) -> None:
    write(tmp_path / "in" / "pet", "Bq/ml", True, AT_SCAN, **tags)
    with pytest.raises(DataError, match=reason):
        import_cohort("dicom", tmp_path / "in", tmp_path / "out")


def test_a_unit_that_nobody_knows_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path / "in" / "pet", "mg/min/ml", True, AT_SCAN)
    with pytest.raises(DataError, match="Units"):
        import_cohort("dicom", tmp_path / "in", tmp_path / "out")
