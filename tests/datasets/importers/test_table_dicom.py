"""Tables whose cells or rows name DICOM: archives with several studies of a patient."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hilum.core.errors import DataError, SettingsError
from hilum.core.notes import read_notes
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import read_volume
from hilum.datasets.manifest import notes_file, read_manifest

Write = Callable[..., list[Path]]
pytest.importorskip("pydicom")


@pytest.fixture
def archive(dicom_series: Write, tmp_path: Path) -> Path:
    """Return a folder with two PET/CT studies of P1 and a CT of P2, a folder for each series."""
    root = tmp_path / "archive"
    for number, (patient, date) in enumerate((("P1", "20240102"), ("P1", "20240602"))):
        study = {"PatientID": patient, "StudyInstanceUID": f"1.2.{number}", "StudyDate": date}
        study |= {"SeriesDate": "20240102", "FrameOfReferenceUID": f"1.9.{number}"}
        dicom_series(root / f"{patient}-{number}-ct", "CT", uid=f"1.2.3.1{number}", **study)
        dicom_series(root / f"{patient}-{number}-pt", "PT", uid=f"1.2.3.2{number}", **study)
    dicom_series(root / "P2-ct", "CT", uid="1.2.3.33", PatientID="P2", StudyInstanceUID="1.3")
    return root


def read(table: Path, out: Path, **options) -> dict:
    return {case.id: case for case in read_manifest(import_cohort("table", table, out, **options))}


def test_metadata_of_an_archive_gives_a_case_of_each_study(archive: Path, tmp_path: Path) -> None:
    rows = ["Series UID,Collection,Subject ID,Study UID,Study Date,Modality,File Location"]
    for folder in sorted(archive.iterdir()):
        place = f".\\{folder.name}"
        rows.append(f"1.2.3,SET,{folder.name[:2]},1.2,01-02-2024,CT,{place}")
    rows.append("1.2.3,SET,P3,1.2,01-02-2024,CT,.\\gone")
    (archive / "metadata.csv").write_text("\n".join(rows))
    manifest = import_cohort("table", archive / "metadata.csv", tmp_path / "out")
    cases = {case.id: set(case.volumes) for case in read_manifest(manifest)}
    assert cases == {
        "P1_20240102": {"ct", "pet"},
        "P1_20240602": {"ct", "pet"},
        "P2": {"ct"},
    }
    kinds = {note.kind: note.text for note in read_notes(notes_file(manifest))}
    assert "1 of 6 folders are not there" in kinds["rows whose files are missing"]


@pytest.mark.parametrize("column", ["study", "Study Date", "session", "StudyInstanceUID"])
def test_rows_of_folders_are_cases_named_by_patient_and_study(
    archive: Path, tmp_path: Path, column: str
) -> None:
    table = tmp_path / "cohort.csv"
    rows = [f"patient,{column},ct,pet"]
    rows += [f"P1,{n},archive/P1-{n}-ct,archive/P1-{n}-pt" for n in (0, 1)]
    rows += ["P2,0,archive/P2-ct,"]
    table.write_text("\n".join(rows))
    cases = read(table, tmp_path / "out")
    assert set(cases) == {"P1_0", "P1_1", "P2"}
    assert {case.patient for case in cases.values()} == {"P1", "P2"}
    assert set(cases["P1_1"].volumes) == {"ct", "pet"}
    ours = read_volume(cases["P1_0"].volumes["pet"])
    alone = import_cohort("dicom", archive / "P1-0-pt", tmp_path / "alone")
    theirs = read_volume(read_manifest(alone)[0].volumes["pet"])
    assert (ours.array == theirs.array).all()


def test_a_folder_that_does_not_fit_leaves_its_row_out(archive: Path, tmp_path: Path) -> None:
    table = tmp_path / "cohort.csv"
    table.write_text("case,ct\na,archive/P1-0-pt\nb,archive/P2-ct\n")
    manifest = import_cohort("table", table, tmp_path / "out")
    assert [case.id for case in read_manifest(manifest)] == ["b"]
    assert "must hold a DICOM series for ct" in (tmp_path / "out" / "import.json").read_text()


def test_settings_of_dicom_are_for_dicom(archive: Path, tmp_path: Path) -> None:
    table = tmp_path / "cohort.csv"
    table.write_text("case,pet\na,archive/P1-0-pt\n")
    plain = read(table, tmp_path / "1")["a"].volumes["pet"]
    heavy = read(table, tmp_path / "2", options=["assume=weight_kg=150"])["a"].volumes["pet"]
    ratio = read_volume(heavy).array.sum() / read_volume(plain).array.sum()
    assert ratio == pytest.approx(2, rel=1e-4)
    table.write_text(f"case,pet\na,{plain}\n")
    with pytest.raises(SettingsError, match="need DICOM"):
        read(table, tmp_path / "3", options=["suv=bw"])


def test_rows_of_a_patient_that_nothing_tells_apart_are_named(
    archive: Path, tmp_path: Path
) -> None:
    table = tmp_path / "cohort.csv"
    table.write_text("patient,ct\nP1,archive/P1-0-ct\nP1,archive/P1-1-ct\n")
    import_cohort("table", table, tmp_path / "out")
    text = (tmp_path / "out" / "import.json").read_text()
    assert "a column case, study or session tells rows apart" in text
    with pytest.raises(DataError):
        read(tmp_path / "none.csv", tmp_path / "out")
