"""However a DICOM study is malformed, it is named in one line and the others are imported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.manifest import read_manifest

Write = Callable[..., list[Path]]
pytestmark = [
    # pydicom says so, too, when the malformed file is written.
    pytest.mark.filterwarnings("ignore:Invalid value for VR:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*is_little_endian:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*is_implicit_VR:DeprecationWarning"),
]


def tag(**changes: Any) -> dict[str, Any]:
    """Change tags of every slice; `None` removes one."""

    def each(number: int, data: Any) -> None:
        for name, value in changes.items():
            if value is None:
                delattr(data, name)
            else:
                setattr(data, name, value)

    return {"each": each}


def at(slice_number: int, **changes: Any) -> dict[str, Any]:
    """Change tags of one slice."""

    def each(number: int, data: Any) -> None:
        if number == slice_number:
            for name, value in changes.items():
                setattr(data, name, value)

    return {"each": each}


def tracer(**changes: Any) -> dict[str, Any]:
    """Change tags of the radiopharmaceutical."""

    def each(number: int, data: Any) -> None:
        item = data.RadiopharmaceuticalInformationSequence[0]
        for name, value in changes.items():
            if value is None:
                delattr(item, name)
            else:
                setattr(item, name, value)

    return {"each": each}


def drift(number: int, data: Any) -> None:
    data.ImagePositionPatient[1] += 0.6 * number


def uneven(number: int, data: Any) -> None:
    data.ImagePositionPatient[2] += 1.0 if number in (2, 3) else 0.0


def thicker(number: int, data: Any) -> None:
    data.ImagePositionPatient[2] += 5.0 * max(number - 3, 0)


def damaged_stream(number: int, data: Any) -> None:
    from pydicom.encaps import encapsulate

    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
    data.PixelData = encapsulate([b"no JPEG 2000" * 9])


CT: dict[str, tuple[dict[str, Any], str]] = {
    "no position": (tag(ImagePositionPatient=None), "ImagePositionPatient or"),
    "no orientation": (tag(ImageOrientationPatient=None), "ImagePositionPatient or"),
    "no pixel spacing": (tag(PixelSpacing=None), "PixelSpacing must be 2 numbers"),
    "pixel spacing of zero": (tag(PixelSpacing=[0, 0]), "PixelSpacing must be positive"),
    "negative pixel spacing": (tag(PixelSpacing=[-1, 1]), "PixelSpacing must be positive"),
    "orientation not a turn": (
        tag(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]),
        "",
    ),
    "orientation of another length": (
        tag(ImageOrientationPatient=[2, 0, 0, 0, 2, 0]),
        "unit vectors",
    ),
    "slices askew": (
        tag(ImageOrientationPatient=[1, 0, 0, 0.5, 0.866, 0]),
        "right angles",
    ),
    "gantry tilt": ({"each": drift}, "gantry tilt"),
    "uneven slices": ({"each": uneven}, "evenly spaced"),
    "thicker slices from the middle on": ({"each": thicker}, "variable spacing, gaps of "),
    "no pixels": (tag(PixelData=None), "pixels must be readable"),
    "too few pixels": (tag(PixelData=b"\0" * 8), "pixels must be readable"),
    "no rows": (tag(Rows=None), ""),
    "slope of zero": (tag(RescaleSlope=0), "RescaleSlope must be a number that scales"),
    "two frames of reference": (at(3, FrameOfReferenceUID="9.9"), "one FrameOfReferenceUID"),
    "one slice of other voxels in the place of another": (
        at(3, ImagePositionPatient=[-20, -15, 106]),
        "",
    ),
    "colour": (tag(SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0), ""),
    "a scout alone": (tag(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), "a scout"),
    "a secondary capture": (tag(SOPClassUID="1.2.840.10008.5.1.4.1.1.7"), "no volume of CT"),
    "a compressed stream that is none": ({"each": damaged_stream}, "pixels must be readable"),
}  # fmt: skip

PET: dict[str, tuple[dict[str, Any], str]] = {
    "no weight": (tag(PatientWeight=None), "PatientWeight"),
    "weight of zero": (tag(PatientWeight=0), "PatientWeight"),
    "weight in grams": (tag(PatientWeight=75000), "PatientWeight"),
    "no units": (tag(Units=None), "Units"),
    "unknown units": (tag(Units="PROPCPS"), "Units"),
    "counts without Philips' factors": (tag(Units="CNTS"), "7053,10"),
    "not corrected for decay": (tag(CorrectedImage=["ATTN"]), "DECY"),
    "no decay correction": (tag(DecayCorrection="NONE"), "DecayCorrection"),
    "no word of decay correction": (tag(DecayCorrection=None), "DecayCorrection"),
    "no attenuation correction": (tag(CorrectedImage=["DECY"]), "not corrected for attenuation"),
    "no word of corrections": (tag(CorrectedImage=None), "CorrectedImage"),
    "no tracer": (tag(RadiopharmaceuticalInformationSequence=None), ""),
    "no dose": (tracer(RadionuclideTotalDose=None), "RadionuclideTotalDose"),
    "dose in MBq": (tracer(RadionuclideTotalDose=350), "MBq"),
    "dose of zero": (tracer(RadionuclideTotalDose=0), "RadionuclideTotalDose"),
    "no half-life": (tracer(RadionuclideHalfLife=None), "RadionuclideHalfLife"),
    "absurd half-life": (tracer(RadionuclideHalfLife=1), "RadionuclideHalfLife"),
    "half-life in minutes": (tracer(RadionuclideHalfLife=109.77), "RadionuclideHalfLife"),
    "no injection": (tracer(RadiopharmaceuticalStartTime=None), "RadiopharmaceuticalStart"),
    "injected yesterday by the date": (
        tracer(RadiopharmaceuticalStartDateTime="20240101091500"),
        "",
    ),
    "injected years ago": (tracer(RadiopharmaceuticalStartDateTime="19000101091500"), ""),
    "injected after the scan": (tracer(RadiopharmaceuticalStartDateTime="20240102120000"), ""),
    "a time that is none": (tracer(RadiopharmaceuticalStartTime="9999"), ""),
    "weights that differ": (at(2, PatientWeight=60.0), ""),
    "units that differ": (at(2, Units="GML"), "Units"),
    "dynamic": (tag(SeriesType=["DYNAMIC", "IMAGE"]), "dynamic or gated"),
}


def refusal(root: Path, out: Path) -> str:
    """Import, and return why the study of patient `bad` was left out."""
    manifest = import_cohort("dicom", root, out)
    assert [case.id for case in read_manifest(manifest)] == ["good"], "the others are imported"
    left = json.loads((out / "import.json").read_text())["left_out"]
    assert [row["case"] for row in left] == ["bad"]
    assert not (out / "cases" / "bad").exists(), "nothing is half-written"
    return left[0]["reason"]


@pytest.mark.parametrize(
    ("kind", "name"), [*(("CT", name) for name in CT), *(("PT", name) for name in PET)]
)
def test_a_malformed_study_is_named_and_the_others_go_on(
    dicom_series: Write, tmp_path: Path, kind: str, name: str
) -> None:
    root = tmp_path / "in"
    dicom_series(root / "good", "CT", uid="1.2.3.1", PatientID="good", StudyInstanceUID="1.1")
    changes, words = (CT if kind == "CT" else PET)[name]
    dicom_series(
        root / "bad", kind, uid="1.2.3.2", PatientID="bad", StudyInstanceUID="1.2", **changes
    )
    line = refusal(root, tmp_path / "out")
    assert "\n" not in line
    assert "bad" in line
    assert words in line, line
    assert "Traceback" not in line


FILES: dict[str, tuple[Callable[[list[Path]], object], str]] = {
    "a slice is missing": (lambda files: files[2].unlink(), "1 missing, the first after"),
    "two slices are missing": (
        lambda files: [files[i].unlink() for i in (2, 3)],
        "too few",
    ),
    "all but two are missing": (lambda files: [f.unlink() for f in files[2:]], "too few"),
    "a slice is cut off": (
        lambda files: files[2].write_bytes(files[2].read_bytes()[:-100]),
        "pixels must be readable",
    ),
    "a header is cut off": (
        lambda files: files[2].write_bytes(files[2].read_bytes()[:300]),
        "missing",
    ),
    "a slice is zeros": (lambda files: files[2].write_bytes(b"\0" * 900), "missing"),
    "a slice is text": (lambda files: files[2].write_text("HU 40 41 42"), "missing"),
}


@pytest.mark.parametrize("name", FILES)
def test_malformed_files_are_named_and_the_others_go_on(
    dicom_series: Write, tmp_path: Path, name: str
) -> None:
    root = tmp_path / "in"
    dicom_series(root / "good", "CT", uid="1.2.3.1", PatientID="good", StudyInstanceUID="1.1")
    files = dicom_series(root / "bad", uid="1.2.3.2", PatientID="bad", StudyInstanceUID="1.2")
    spoil, words = FILES[name]
    spoil(files)
    line = refusal(root, tmp_path / "out")
    assert words in line, line
    assert "\n" not in line


def test_contours_of_a_scan_that_is_not_there_do_not_cost_the_scan(
    dicom_series: Write, tmp_path: Path
) -> None:
    rt_utils = pytest.importorskip("rt_utils")
    root = tmp_path / "in"
    dicom_series(root / "ct", "CT", uid="1.2.3.1")
    elsewhere = tmp_path / "elsewhere"
    more = {
        "StudyTime": "",
        "PatientName": "",
        "PatientBirthDate": "",
        "PatientSex": "",
        "StudyID": "",
    }
    dicom_series(elsewhere, "CT", uid="1.2.3.77", FrameOfReferenceUID="1.2.3.78", **more)
    drawn = rt_utils.RTStructBuilder.create_new(dicom_series_path=str(elsewhere))
    mask = np.zeros((10, 12, 6), bool)
    mask[3:6, 4:8, 2:4] = True
    drawn.add_roi(mask=mask, name="GTVn")
    drawn.save(str(root / "rt.dcm"))
    (case,) = read_manifest(import_cohort("dicom", root, tmp_path / "out"))
    assert case.label is None
    notes = json.loads((tmp_path / "out" / "import.json").read_text())["notes"]
    assert any(note["case"] == "P1" for note in notes)
