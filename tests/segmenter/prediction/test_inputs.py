"""Cases are found in a manifest, case folders, files or DICOM, and predicted from each alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from hilum.core.case import Case
from hilum.core.errors import DataError, SettingsError
from hilum.core.files import read_json
from hilum.core.geometry import Grid
from hilum.datasets.io.nifti import read_label, write_volume
from hilum.datasets.manifest import write_manifest
from hilum.segmenter.prediction.cohort import predict
from hilum.segmenter.prediction.inputs import find_cases
from hilum.segmenter.segmenter import Segmenter

SIDES = (18, 24, 28)
SPACING = (4.0, 3.5, 3.0)
NODE = (8, 12, 16)


def scans() -> dict[str, np.ndarray]:
    index = np.stack(np.meshgrid(*map(np.arange, SIDES), indexing="ij"), -1) * np.array(SPACING)
    middle = np.array([9, 12, 14]) * SPACING
    body = np.linalg.norm(index - middle, axis=-1) < 32
    node = np.linalg.norm(index - np.array(NODE) * SPACING, axis=-1) < 9
    ct = np.where(body, 20 + 70 * node, -1000)
    return {"ct": ct.astype(np.int16), "pet": (body * (1 + 7 * node)).astype(np.float32)}


def write_case(folder: Path, *names: str) -> Path:
    grid = Grid.from_spacing(SIDES, SPACING)
    for name in names:
        write_volume(folder / f"{name}.nii.gz", scans()[name], grid)
    return folder


def write_dicom(folder: Path) -> Path:
    """Write the CT as a series of a patient P7, a file per slice."""
    pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    folder.mkdir(parents=True)
    for number, image in enumerate(scans()["ct"]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.2")
        meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.4.{number + 1}")
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = (
            meta.MediaStorageSOPClassUID,
            meta.MediaStorageSOPInstanceUID,
        )
        data.Modality, data.PatientID, data.StudyInstanceUID = "CT", "P7", "1.2.3"
        data.SeriesInstanceUID, data.FrameOfReferenceUID = "1.2.3.4", "1.2.3.9"
        data.StudyDate, data.SeriesNumber, data.SeriesDescription = "20240102", 4, "CT WB"
        data.ImageType, data.InstanceNumber = ["ORIGINAL", "PRIMARY"], number + 1
        data.Rows, data.Columns = image.shape
        data.PixelSpacing, data.SliceThickness = [SPACING[1], SPACING[2]], SPACING[0]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [-40.0, -35.0, 100 + number * SPACING[0]]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 1
        data.RescaleSlope, data.RescaleIntercept = 1, 0
        data.PixelData = np.ascontiguousarray(image).tobytes()
        data.save_as(folder / f"{number:03d}", enforce_file_format=True)
    return folder


def test_a_dicom_study_is_predicted_straight_away(threshold: Segmenter, tmp_path: Path) -> None:
    study, out = write_dicom(tmp_path / "study" / "series"), tmp_path / "out"
    predict(threshold, study.parent, out, precision="32", pictures=False)
    mask = read_label(out / "P7.nii.gz")
    assert mask.grid.spacing == pytest.approx(SPACING)
    # DICOM counts from the patient's right and front: in RAS, two axes run the other way.
    expected = np.array([40 - NODE[2] * 3.0, 35 - NODE[1] * 3.5, 100 + NODE[0] * 4.0])
    assert_allclose(mask.grid.to_world(np.argwhere(mask.array > 0)).mean(0), expected, atol=1)
    before = (out / "imported" / "cases" / "P7" / "ct.nii.gz").stat().st_mtime_ns
    done = (out / "P7.nii.gz").stat().st_mtime_ns
    predict(threshold, study / "003", out, precision="32", pictures=False)
    assert (out / "imported" / "cases" / "P7" / "ct.nii.gz").stat().st_mtime_ns == before
    assert (out / "P7.nii.gz").stat().st_mtime_ns == done


@pytest.mark.parametrize("names", [("ct", "pet"), ("ct",), ("pet",)])
def test_a_case_folder_gives_what_its_files_give(
    names: tuple[str, ...], threshold: Segmenter, tmp_path: Path
) -> None:
    case = write_case(tmp_path / "p1", *names)
    write_volume(
        case / "label.nii.gz", np.zeros(SIDES, np.uint8), Grid.from_spacing(SIDES, SPACING)
    )
    predict(threshold, case, tmp_path / "a", precision="32", pictures=False)
    files = {name: case / f"{name}.nii.gz" for name in names}
    predict(threshold, files, tmp_path / "b", precision="32", pictures=False)
    one, other = (read_label(tmp_path / out / "p1.nii.gz").array for out in "ab")
    assert one.any()
    assert_array_equal(one, other)
    assert read_json(tmp_path / "a" / "summary.json")["cases"]["p1"]["modalities"] == list(names)


def test_a_folder_of_cases_and_a_folder_with_a_manifest_give_all(
    threshold: Segmenter, tmp_path: Path
) -> None:
    cases = tmp_path / "cases"
    for name, have in (("a", ("ct", "pet")), ("b", ("pet",))):
        write_case(cases / name, *have)
    found = find_cases(cases, threshold, tmp_path)
    assert [(case.id, list(case.volumes)) for case in found.cases] == [
        ("a", ["ct", "pet"]),
        ("b", ["pet"]),
    ]
    only = Case("only", "p", {"ct": cases / "a" / "ct.nii.gz"})
    manifest = write_manifest(cases / "manifest.csv", [only])
    for given in (cases, manifest):
        assert [case.id for case in find_cases(given, threshold, tmp_path).cases] == ["only"]


def test_a_bad_folder_among_cases_is_named_and_the_others_are_predicted(
    threshold: Segmenter, tmp_path: Path
) -> None:
    write_case(tmp_path / "cases" / "a", "ct")
    bad = write_case(tmp_path / "cases" / "b", "ct")
    (bad / "ct.nii").write_bytes(b"again")
    with pytest.raises(DataError, match=r"(?s)1 of 2 are predicted.*one file for ct"):
        predict(threshold, tmp_path / "cases", tmp_path / "out", pictures=False)
    assert (tmp_path / "out" / "a.nii.gz").is_file()


def test_what_cannot_be_told_is_a_clear_error(threshold: Segmenter, tmp_path: Path) -> None:
    case = write_case(tmp_path / "p1", "ct")
    with pytest.raises(DataError, match="does not say what it is; give it by its modality: --ct"):
        find_cases(case / "ct.nii.gz", threshold, tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        find_cases(tmp_path / "none", threshold, tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="must hold DICOM"):
        find_cases(tmp_path / "empty", threshold, tmp_path)


def test_each_modality_may_be_a_folder_of_dicom_or_a_file(
    threshold: Segmenter, tmp_path: Path
) -> None:
    folder = write_dicom(tmp_path / "P7" / "ct")
    seen: list[tuple[int, int, str]] = []
    found = find_cases(
        {"ct": folder}, threshold, tmp_path / "out",
        progress=lambda done, total, name: seen.append((done, total, name)),
    )  # fmt: skip
    (case,) = found.cases
    assert (case.id, list(case.volumes)) == ("P7", ["ct"])
    assert seen
    assert seen[-1][0] == seen[-1][1]
    predict(threshold, {"ct": folder}, tmp_path / "a", precision="32", pictures=False)
    predict(threshold, folder.parent, tmp_path / "b", precision="32", pictures=False)
    one, other = (read_label(tmp_path / out / "P7.nii.gz").array for out in "ab")
    assert one.any()
    assert_array_equal(one, other)
    # One file stands for its series; a NIfTI beside it is taken as it is.
    pet = case.volumes["ct"].with_name("pet.nii.gz")
    write_volume(pet, np.ones(SIDES, np.float32), Grid.from_spacing(SIDES, SPACING))
    both = {"ct": folder / "003", "pet": pet}
    (case,) = find_cases(both, threshold, tmp_path / "c").cases
    assert list(case.volumes) == ["ct", "pet"]
    assert case.volumes["pet"] == pet


def test_settings_of_dicom_reach_the_importer_or_are_refused(
    threshold: Segmenter, tmp_path: Path
) -> None:
    folder = write_dicom(tmp_path / "study")
    with pytest.raises(SettingsError, match="unknown SUV assumption"):
        find_cases(folder, threshold, tmp_path / "out", ["assume=wieght_kg=70"])
    with pytest.raises(SettingsError):
        find_cases(folder, threshold, tmp_path / "out", ["suw=bw"])
    case = write_case(tmp_path / "p1", "ct")
    with pytest.raises(SettingsError, match="settings of DICOM need DICOM"):
        find_cases(case, threshold, tmp_path / "out", ["suv=bw"])
    with pytest.raises(DataError, match="must hold a DICOM series for pet"):
        find_cases({"pet": folder}, threshold, tmp_path / "out")


@pytest.mark.parametrize(
    ("table", "options"),
    [
        ("patient,ct\nP7,{place}\n", ()),
        ("case,ct,label\nP7,{place},\n", ("suv=lbm",)),
        ("Series UID,Subject ID,Modality,File Location\n1.2.3.4,P7,CT,{place}\n", ()),
    ],
)
def test_a_table_of_dicom_is_predicted_from(
    threshold: Segmenter, tmp_path: Path, table: str, options: tuple[str, ...]
) -> None:
    write_dicom(tmp_path / "archive" / "ct")
    file = tmp_path / "table.csv"
    file.write_text(table.format(place="archive/ct"))
    seen: list[tuple[int, int, str]] = []
    found = find_cases(file, threshold, tmp_path / "out", options, lambda *step: seen.append(step))
    (case,) = found.cases
    assert (case.id, list(case.volumes)) == ("P7", ["ct"])
    assert case.volumes["ct"].is_relative_to(tmp_path / "out" / "imported")
    assert seen
    write_volume(tmp_path / "p8.nii", scans()["ct"], Grid.from_spacing(SIDES, SPACING))
    file.write_text("case,ct\np8,p8.nii\n")
    (case,) = find_cases(file, threshold, tmp_path / "out").cases
    assert case.volumes == {"ct": tmp_path / "p8.nii"}
    with pytest.raises(SettingsError, match="settings of DICOM need DICOM"):
        find_cases(file, threshold, tmp_path / "out", ["suv=bw"])


def test_progress_tells_the_headers_of_each_folder_and_the_conversion(
    threshold: Segmenter, tmp_path: Path
) -> None:
    folder = write_dicom(tmp_path / "P7" / "ct")
    seen: list[tuple[int, int, str]] = []
    find_cases(
        {"ct": folder}, threshold, tmp_path / "out", progress=lambda *step: seen.append(step)
    )
    count = len(list(folder.iterdir()))
    assert seen == [(count, count, "ct"), (1, 1, "P7")]


def test_a_network_that_gets_fewer_modalities_than_it_knows_says_so(
    threshold: Segmenter, tmp_path: Path
) -> None:
    for names, told in ((("ct",), 1), (("ct", "pet"), 0)):
        case, lines = write_case(tmp_path / f"p{told}", *names), list[str]()
        predict(threshold, case, tmp_path / "out", precision="32", pictures=False, say=lines.append)
        lines = [line for line in lines if f"p{told}:" in line]
        expected = f"warning: p{told}: predicted from ct without pet, which the network knows"
        assert lines == [expected][:told]


@pytest.mark.parametrize(
    ("files", "names", "volumes", "told"),
    [
        (["ct", "SUV"], {}, ["ct"], "files passed over: SUV; say what they are"),
        (["ct", "SUV"], {"SUV": "pet"}, ["ct", "pet"], ""),
        (["ct", "SUV"], {"suv": ""}, ["ct"], ""),
        (["ct", "pet"], {"pet": "skip"}, ["ct"], ""),
        (["CT_vol", "SUV"], {"ct_vol": "ct", "SUV.nii.gz": "pet"}, ["ct", "pet"], ""),
        (["ct"], {"suv": "pet"}, ["ct"], "no case has pet, which suv=pet asks for"),
        (["ct", "label"], {}, ["ct"], ""),
    ],
)
@pytest.mark.parametrize("one", [True, False])
def test_files_of_a_folder_are_named_skipped_or_told(
    files: list[str],
    names: dict[str, str],
    volumes: list[str],
    told: str,
    one: bool,
    threshold: Segmenter,
    tmp_path: Path,
) -> None:
    for name in files:
        array = scans()["pet" if name in ("SUV", "pet") else "ct"]
        file = tmp_path / "cases" / "p1" / f"{name}.nii.gz"
        write_volume(file, array, Grid.from_spacing(SIDES, SPACING))
    place = tmp_path / "cases" / ("p1" if one else "")
    found = find_cases(place, threshold, tmp_path / "out", names=names)
    (case,) = found.cases
    assert (case.id, sorted(case.volumes)) == ("p1", volumes)
    assert [note.text[: len(told)] for note in found.notes] == [told] * bool(told)


def test_a_folder_of_unknown_names_says_what_to_do(threshold: Segmenter, tmp_path: Path) -> None:
    case = write_case(tmp_path / "cases" / "p1", "ct")
    (case / "ct.nii.gz").rename(case / "thorax scan.nii.gz")
    for place in (case, case.parent):
        with pytest.raises(DataError, match=r"found thorax scan; .*--name 'thorax scan=pet'"):
            find_cases(place, threshold, tmp_path / "out")


def test_names_reach_tables_and_are_refused_where_they_mean_nothing(
    threshold: Segmenter, tmp_path: Path
) -> None:
    case = write_case(tmp_path / "p1", "ct")
    table = tmp_path / "t.csv"
    table.write_text("case,scan,label\na,p1/ct.nii.gz,\n")
    (found,) = find_cases(table, threshold, tmp_path / "out", names={"scan": "ct"}).cases
    assert found.volumes == {"ct": case / "ct.nii.gz"}
    with pytest.raises(SettingsError, match="names are for folders, DICOM and tables"):
        find_cases({"ct": case / "ct.nii.gz"}, threshold, tmp_path / "out", names={"x": "ct"})
    with pytest.raises(SettingsError, match="the segmenter must know 'mr_t1'"):
        find_cases(case, threshold, tmp_path / "out", names={"x": "mr_t1"})


def test_a_doubtful_header_is_told_in_predict_too(threshold: Segmenter, tmp_path: Path) -> None:
    import nibabel
    from nibabel.nifti1 import Nifti1Image

    case = write_case(tmp_path / "p1", "ct")
    image = Nifti1Image.from_filename(case / "ct.nii.gz")
    moved = np.array(image.affine)
    moved[:3, 3] += 20
    image.set_qform(moved, code=1)
    nibabel.save(image, case / "ct.nii.gz")
    for given in (case, case.parent, {"ct": case / "ct.nii.gz"}):
        found = find_cases(given, threshold, tmp_path / "out")
        assert [(n.kind, n.severity) for n in found.notes] == [("positions in doubt", "warning")]
