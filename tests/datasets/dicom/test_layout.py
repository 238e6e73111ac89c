"""A messy tree of DICOM becomes cases in HU and SUV, placed where the scanner put them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.core.errors import DataError
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import read_label, read_volume
from hilum.datasets.io.resampling import resample
from hilum.datasets.io.simpleitk import read_series
from hilum.datasets.manifest import read_manifest

Write = Callable[..., list[Path]]
REAL = Path(os.environ.get("HILUM_REAL_DATA", Path(__file__).parents[4] / "shared/data/sts_petct"))
FACTOR = 75_000 / (3.5e8 * 2 ** (-3600 / 6586.2))
"""One hour after the injection, by hand."""


def run(root: Path, out: Path, **options: Any) -> dict[str, Any]:
    """Import, and return the cases by id."""
    manifest = import_cohort("dicom", root, out, **options)
    return {case.id: case for case in read_manifest(manifest)}


def verdicts(out: Path) -> dict[str, str]:
    rows = json.loads((out / "dicom.json").read_text())["series"]
    return {row["description"]: row["what"] for row in rows}


def test_a_pair_is_read_in_hu_and_suv_where_it_lies(dicom_series: Write, tmp_path: Path) -> None:
    dicom_series(tmp_path / "in" / "a", "CT", uid="1.2.3.1")
    dicom_series(tmp_path / "in" / "b", "PT", uid="1.2.3.2")
    (case,) = run(tmp_path / "in", tmp_path / "out").values()
    assert (case.id, case.patient, set(case.volumes)) == ("P1", "P1", {"ct", "pet"})
    for name, folder in (("ct", "a"), ("pet", "b")):
        ours, theirs = read_volume(case.volumes[name]), read_series(tmp_path / "in" / folder)
        assert ours.grid.shape == theirs.grid.shape
        moved = resample(theirs.array.astype(np.float32), theirs.grid, ours.grid)
        scale = FACTOR if name == "pet" else 1
        np.testing.assert_allclose(ours.array, moved * scale, rtol=1e-5, atol=1e-4)
        # The first voxel of the first file: 20 mm right, 15 mm front of the centre in RAS.
        corner = ours.grid.to_index((20.0, 15.0, 100.0))
        np.testing.assert_allclose(corner, 0, atol=1e-4)
    audit = json.loads((case.volumes["pet"].parent / "source.json").read_text())
    assert audit["volumes"]["pet"]["suv"]["factor"] == pytest.approx(FACTOR, rel=1e-6)


def test_oblique_unsorted_slices_without_endings_among_junk(
    dicom_series: Write, dicom_voxels: Callable, tmp_path: Path
) -> None:
    angle = np.deg2rad(20)
    turn = (1, 0, 0, 0, np.cos(angle), np.sin(angle))
    files = dicom_series(tmp_path / "in" / "x", "CT", turn=turn)
    for file, name in zip(files, ("z", "b.dcm", "IM 3", "ä", "q.IMA", "0"), strict=True):
        file.rename(file.with_name(name))
    (tmp_path / "in" / "readme.txt").write_text("not DICOM")
    (tmp_path / "in" / "x" / "Thumbs.db").write_bytes(b"\0" * 400)
    (tmp_path / "in" / "x" / "empty").touch()
    (case,) = run(tmp_path / "in", tmp_path / "out").values()
    volume = read_volume(case.volumes["ct"])
    expected = dicom_voxels("CT") - 1024.0
    at = volume.grid.to_index((20.0, 15.0, 100.0))
    np.testing.assert_allclose(at, 0, atol=1e-3)
    np.testing.assert_array_equal(volume.array, expected)
    step = volume.grid.to_world((1, 0, 0)) - volume.grid.to_world((0, 0, 0))
    np.testing.assert_allclose(step, (0, 3 * np.sin(angle), 3 * np.cos(angle)), atol=1e-4)


def test_every_slice_is_rescaled_by_its_own_slope(
    dicom_series: Write, dicom_voxels: Callable, tmp_path: Path
) -> None:
    def each(number: int, data: Any) -> None:
        data.RescaleSlope = 0.1 * (number + 1)

    dicom_series(tmp_path / "in", "PT", each=each)
    (case,) = run(tmp_path / "in", tmp_path / "out").values()
    slopes = 0.1 * np.arange(1, 7)[:, None, None]
    expected = dicom_voxels("PT") * slopes * FACTOR
    np.testing.assert_allclose(read_volume(case.volumes["pet"]).array, expected, rtol=1e-5)


def test_padding_becomes_air(dicom_series: Write, dicom_voxels: Callable, tmp_path: Path) -> None:
    array = dicom_voxels("CT")
    array[:, 0] = -2000
    dicom_series(tmp_path / "in", "CT", array, PixelPaddingValue=-2000)
    (case,) = run(tmp_path / "in", tmp_path / "out").values()
    assert (read_volume(case.volumes["ct"]).array[:, 0] == -1024).all()


def test_the_right_series_are_chosen_and_every_other_has_a_reason(
    dicom_series: Write, tmp_path: Path
) -> None:
    root = tmp_path / "in"
    tilted = {"turn": (1, 0, 0, 0, 0, -1)}
    dicom_series(root / "1", "CT", uid="1.2.3.1", SeriesDescription="Topogram", **tilted)
    dicom_series(root / "2", "CT", uid="1.2.3.2", SeriesDescription="CT lung B70f")
    dicom_series(root / "3", "CT", uid="1.2.3.3", SeriesDescription="CT soft B30f")
    dicom_series(
        root / "4", "CT", uid="1.2.3.4", SeriesDescription="CT of another table",
        FrameOfReferenceUID="1.2.3.8",
    )  # fmt: skip
    dicom_series(
        root / "5", "PT", uid="1.2.3.5", SeriesDescription="PET NAC", CorrectedImage=["DECY"]
    )
    dicom_series(root / "6", "PT", uid="1.2.3.6", SeriesDescription="PET AC")
    dicom_series(
        root / "7", "PT", uid="1.2.3.7", SeriesDescription="PET gated", SeriesType=["GATED"]
    )
    dicom_series(root / "8", "PT", uid="1.2.3.8", SeriesDescription="MIP of PET")
    run(root, tmp_path / "out")
    found = verdicts(tmp_path / "out")
    assert found.pop("CT soft B30f") == "taken as ct"
    assert found.pop("PET AC") == "taken as pet"
    assert found == {
        "Topogram": "a scout or a report",
        "CT lung B70f": "not taken: series 3 'CT soft B30f' is preferred as ct",
        "CT of another table": "not taken: series 3 'CT soft B30f' is preferred as ct",
        "PET NAC": "not corrected for attenuation",
        "PET gated": "dynamic or gated",
        "MIP of PET": "made from another series",
    }


def test_mr_sequences_are_told_apart_and_a_name_overrules(
    dicom_series: Write, tmp_path: Path
) -> None:
    root = tmp_path / "in"
    for number, text in enumerate(("t1_vibe_dixon", "T2 STIR tra", "ep2d ADC", "strange")):
        dicom_series(root / text, "MR", uid=f"1.2.3.{number}", SeriesDescription=text)
    (case,) = run(root, tmp_path / "one").values()
    assert set(case.volumes) == {"mr_t1", "mr_t2", "mr_adc", "mr"}
    names = {"strange": "mr_t1_ce", "ADC": "skip"}
    (case,) = run(root, tmp_path / "two", name_map=names).values()
    assert set(case.volumes) == {"mr_t1", "mr_t2", "mr_t1_ce"}


def test_studies_of_one_patient_are_cases_and_mixed_patients_are_parted(
    dicom_series: Write, tmp_path: Path
) -> None:
    root = tmp_path / "all in one"
    for number, (patient, study, date) in enumerate(
        (("P 1/a", "1.5", "20230101"), ("P 1/a", "1.6", "20230601"), ("P2", "1.7", "20230101"))
    ):
        for file in dicom_series(
            root / "part", "CT", uid=f"1.2.3.{number}", PatientID=patient, StudyInstanceUID=study,
            StudyDate=date,
        ):  # fmt: skip
            file.rename(root / f"{number}{file.name}")
    cases = run(root, tmp_path / "out")
    assert set(cases) == {"P_1_a_20230101", "P_1_a_20230601", "P2"}
    assert {case.patient for case in cases.values()} == {"P 1/a", "P2"}


def test_a_series_of_two_acquisitions_is_split(
    dicom_series: Write, dicom_voxels: Callable, tmp_path: Path
) -> None:
    for phase in (1, 2):
        files = dicom_series(
            tmp_path / "in" / "x", "CT", dicom_voxels("CT", phase), AcquisitionNumber=phase
        )
        for file in files:
            file.rename(file.with_name(f"{phase}{file.name}"))
    (case,) = run(tmp_path / "in", tmp_path / "out").values()
    rows = json.loads((tmp_path / "out" / "dicom.json").read_text())["series"]
    assert sorted(row["part"] for row in rows) == ["AcquisitionNumber 1", "AcquisitionNumber 2"]
    found = read_volume(case.volumes["ct"]).array
    assert np.array_equal(found, dicom_voxels("CT", 1) - 1024.0)


def test_a_slice_that_is_there_twice_is_dropped(dicom_series: Write, tmp_path: Path) -> None:
    files = dicom_series(tmp_path / "in", "CT")
    (tmp_path / "in" / "copy").write_bytes(files[2].read_bytes())
    (case,) = run(tmp_path / "in", tmp_path / "out").values()
    assert read_volume(case.volumes["ct"]).array.shape == (6, 10, 12)
    notes = json.loads((case.volumes["ct"].parent / "source.json").read_text())["volumes"]["ct"]
    assert notes["notes"] == ["1 slices were there twice, and were dropped"]


def test_jitter_of_a_few_hundredths_is_accepted_and_shared_out(
    dicom_series: Write, tmp_path: Path
) -> None:
    def each(number: int, data: Any) -> None:
        data.ImagePositionPatient[2] += 0.1 if number == 2 else 0.0

    dicom_series(tmp_path / "in", "CT", each=each)
    (case,) = run(tmp_path / "in", tmp_path / "out").values()
    grid = read_volume(case.volumes["ct"]).grid
    assert grid.spacing[0] == pytest.approx(3.0)
    middle = grid.to_world((2.5, 0, 0))[2]
    assert middle == pytest.approx(100 + 7.5 + 0.1 / 6, abs=1e-4)


def test_links_that_lead_in_circles_and_folders_that_cannot_be_read(
    dicom_series: Write, tmp_path: Path
) -> None:
    root = tmp_path / "in"
    dicom_series(root / "a", "CT")
    (root / "a" / "up").symlink_to(root)
    (root / "dangling").symlink_to(root / "nowhere")
    os.mkfifo(root / "pipe")
    odd = os.fsencode(root) + b"/\xff\xfe"
    Path(os.fsdecode(odd)).mkdir()
    Path(os.fsdecode(odd), "x").write_bytes((root / "a" / "CT000").read_bytes()[:700])
    (case,) = run(root, tmp_path / "out").values()
    assert read_volume(case.volumes["ct"]).array.shape == (6, 10, 12)


def test_a_rerun_writes_nothing_again(dicom_series: Write, tmp_path: Path) -> None:
    dicom_series(tmp_path / "in", "CT")
    (case,) = run(tmp_path / "in", tmp_path / "out").values()
    before = case.volumes["ct"].stat().st_mtime_ns
    run(tmp_path / "in", tmp_path / "out")
    assert case.volumes["ct"].stat().st_mtime_ns == before


def test_other_settings_are_never_answered_with_old_suv(
    dicom_series: Write, tmp_path: Path
) -> None:
    dicom_series(tmp_path / "in", "PT", PatientSize=1.8, PatientSex="M")
    (case,) = run(tmp_path / "in", tmp_path / "out").values()
    weight = read_volume(case.volumes["pet"]).array
    (case,) = run(tmp_path / "in", tmp_path / "out", options=["suv=lbm"]).values()
    lean = read_volume(case.volumes["pet"]).array
    # Janmahasatian by hand: 9270 * 75 / (6680 + 216 * 75 / 1.8^2) = 59.5 kg of 75.
    np.testing.assert_allclose(
        lean / weight, 9270 * 75 / (6680 + 216 * 75 / 1.8**2) / 75, rtol=1e-4
    )


def test_a_damaged_label_stops_its_own_patient_only(dicom_series: Write, tmp_path: Path) -> None:
    from pydicom import dcmwrite
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage

    dicom_series(tmp_path / "in" / "a", "CT")
    dicom_series(tmp_path / "in" / "b", "CT", uid="1.2.3.2", PatientID="P2", StudyInstanceUID="1.3")
    label = Dataset()
    label.SOPClassUID, label.SOPInstanceUID = RTStructureSetStorage, "1.2.9"
    label.PatientID, label.Modality = "P1", "RTSTRUCT"
    label.StudyInstanceUID, label.SeriesInstanceUID = "1.2.3", "1.2.8"
    label.StructureSetROISequence = [Dataset() for _ in range(50)]
    label.file_meta = FileMetaDataset()
    label.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dcmwrite(tmp_path / "in" / "rt", label, enforce_file_format=True)
    data = (tmp_path / "in" / "rt").read_bytes()
    (tmp_path / "in" / "rt").write_bytes(data[: len(data) - 101])
    cases = run(tmp_path / "in", tmp_path / "out")
    assert {case.id: case.label for case in cases.values()} == {"P1": None, "P2": None}
    (note,) = json.loads((tmp_path / "out" / "import.json").read_text())["notes"]
    assert note["case"] == "P1"
    text = note["text"]
    assert re.match(r"imported without a label: .*rt: a label must be whole", text)
    # One who asks for labels by name gets none of the patient's files without them.
    asked = run(tmp_path / "in", tmp_path / "out", options=["labels={node: 1}"])
    assert set(asked) == {"P2"}
    (left,) = json.loads((tmp_path / "out" / "import.json").read_text())["left_out"]
    assert left["case"] == "P1"
    assert re.search(r"rt: a label must be whole, found .*; export it again", left["reason"])


def test_nothing_to_import_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("x")
    with pytest.raises(
        DataError, match=r"DICOM series of CT, PET or MR, found 0 DICOM files and 1"
    ):
        run(tmp_path / "in", tmp_path / "out")
    with pytest.raises(DataError, match="no such folder"):
        run(tmp_path / "none", tmp_path / "out")


@pytest.mark.skipif(not REAL.exists(), reason="needs the real patients")
def test_a_real_patient_equals_its_published_conversion(tmp_path: Path) -> None:
    (case,) = run(REAL / "dicom", tmp_path, options=["labels={GTV*: 1}"]).values()
    theirs = REAL / "cases" / "STS_007"
    for ours, name in (("ct", "ct"), ("pet", "pet"), ("mr_t1", "mr")):
        one, two = read_volume(case.volumes[ours]), read_volume(theirs / f"{name}.nii.gz")
        assert one.grid.same_as(two.grid, 0.1)
        np.testing.assert_allclose(resample(one.array, one.grid, two.grid), two.array, atol=1e-3)
    for ours, name in (("label", "label"), ("label_pet", "label_pet"), ("label_mr_t1", "label_mr")):
        one = read_label(case.volumes["ct"].with_name(f"{ours}.nii.gz"))
        two = read_label(theirs / f"{name}.nii.gz")
        moved = resample(one.array, one.grid, two.grid, order=0)
        assert (moved != two.array).mean() < 1e-4
