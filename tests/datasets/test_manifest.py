"""A manifest keeps what it is given, moves with its folder, and names the line of a mistake."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.datasets.manifest import check_id, read_manifest, scan_manifest, write_manifest

CASES = [
    Case("a 1", "p1", {"ct": Path("a 1/ct.nii.gz")}, None, "Zürich, Süd", "train"),
    Case(
        "b-é", "p1", {"pet": Path("b/pet.nii"), "mr_t1": Path("b/mr.nii")}, Path("b/l.nii"), "", ""
    ),
    Case("c", "p2", {"ct": Path('c/"quoted".nii')}, Path("c/l.nii"), "", "test"),
]


def under(folder: Path) -> list[Case]:
    """Return the cases with files below a folder."""
    return [
        Case(
            case.id,
            case.patient,
            {name: folder / file for name, file in case.volumes.items()},
            folder / case.label if case.label else None,
            case.site,
            case.split,
        )
        for case in CASES
    ]


def write(path: Path, *lines: str) -> Path:
    file = path / "manifest.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "öd ä" / "manifest.csv", under(tmp_path / "öd ä"))
    assert read_manifest(path) == under(tmp_path / "öd ä")


def test_a_cohort_can_move_with_its_manifest(tmp_path: Path) -> None:
    write_manifest(tmp_path / "old" / "manifest.csv", under(tmp_path / "old"))
    shutil.move(tmp_path / "old", tmp_path / "new")
    assert read_manifest(tmp_path / "new" / "manifest.csv") == under(tmp_path / "new")


def test_files_elsewhere_keep_their_whole_path(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "here" / "manifest.csv", under(tmp_path / "there"))
    assert str(tmp_path / "there" / "c") in path.read_text(encoding="utf-8")
    assert read_manifest(path) == under(tmp_path / "there")


def test_a_row_needs_no_more_than_a_case_and_a_scan(tmp_path: Path) -> None:
    path = write(tmp_path, "case,ct", "a,../x/ct.nii.gz", "", "b,/data/ct.nii")
    first, second = read_manifest(path)
    assert first == Case("a", "a", {"ct": tmp_path.parent / "x" / "ct.nii.gz"})
    assert second.volumes == {"ct": Path("/data/ct.nii")}


def test_spreadsheets_may_add_a_mark_capitals_and_spaces(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes("\ufeffCase, Patient ,CT,Split\r\n a , p ,ct.nii, Train\r\n".encode())
    assert read_manifest(path) == [Case("a", "p", {"ct": tmp_path / "ct.nii"}, split="train")]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["case,ct"], "must have at least one case"),
        (["patient,ct", "p,a.nii"], "must have a column 'case', found patient, ct"),
        (["case;ct", "a;b"], "column 'case', found case;ct; separate columns with commas"),
        (["case,label", "a,l.nii"], "must have a column for a modality"),
        (["case,ct,ct", "a,x,y"], "a column may stand once only"),
        (["case,ct,pett", "a,x,y"], "column 'pett': unknown modality 'pett', did you mean 'pet'"),
        (["case,ct", "a,x", "b,"], "line 3: a case must have at least one modality"),
        (["case,ct", "a,x", "A,y"], "case A: .*one row only, found lines 2 and 3"),
        (["case,ct", "a,x", "", "a,y"], "one row only, found lines 2 and 4"),
        (["case,ct", "a/b,x"], r"line 2: the name of a case .* found 'a/b'"),
        (["case,ct", ",x"], r"line 2: the name of a case .* found ''"),
        (["case,ct,split", "a,x,validation"], "split must be train, test or empty, found 'valid"),
        (["case,ct", "a,x,y"], "line 2: .* as many cells as there are columns, found 'y'"),
        (["case,ct", 'a,"x'], "must be CSV in UTF-8, found unexpected end of data"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_manifest(write(tmp_path, *lines))


def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the manifest must be a file.*hilum import"):
        read_manifest(tmp_path / "none.csv")
    with pytest.raises(DataError, match="the manifest must be a file"):
        read_manifest(tmp_path)
    (tmp_path / "latin.csv").write_bytes("case,ct\né,x\n".encode("latin-1"))
    with pytest.raises(DataError, match="CSV in UTF-8"):
        read_manifest(tmp_path / "latin.csv")


def test_a_scan_keeps_the_good_rows_and_every_error(tmp_path: Path) -> None:
    path = write(tmp_path, "case,ct", "a,x", "a,y", "b,", "c,z")
    cases, errors = scan_manifest(path)
    assert [case.id for case in cases] == ["a", "c"]
    assert [error.case for error in errors] == ["a", "b"]


@pytest.mark.parametrize("name", ["a", "PETCT_01 primär  mit KM", "1.2.840", "-x", "節"])
def test_names_that_make_a_folder_are_allowed(tmp_path: Path, name: str) -> None:
    (tmp_path / check_id(name)).mkdir()


@pytest.mark.parametrize(
    "name", ["", " a", "a/b", "a\\b", "..", ".a", "a:b", "a\nb", "a.", "NUL", "con.x", "é" * 101]
)
def test_names_that_some_system_refuses_are_errors(name: str) -> None:
    with pytest.raises(DataError, match="usable as the name of a folder"):
        check_id(name)


@pytest.mark.parametrize(
    "name", ["store.json", "Prepare.JSON", "lock", "lock.claim", "x_probability", "X_Uncertainty"]
)
def test_names_of_files_of_ours_are_errors(name: str) -> None:
    with pytest.raises(DataError, match=r"no name of a file of ours .*store\.json"):
        check_id(name)
    check_id(f"{name} 1")


def test_partial_labels_are_read_and_written(tmp_path: Path) -> None:
    cases = [
        Case("a", "a", {"ct": Path("a.nii")}, Path("b.nii"), partial=True),
        Case("b", "b", {"ct": Path("a.nii")}),
    ]
    path = write_manifest(tmp_path / "m.csv", cases)
    assert path.read_text().splitlines()[0] == "case,patient,ct,label,site,split,partial"
    assert [case.partial for case in read_manifest(path)] == [True, False]
    whole = write_manifest(tmp_path / "w.csv", cases[1:])
    assert "partial" not in whole.read_text()


def test_partial_must_be_yes_or_no(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("case,ct,partial\na,a.nii,some\n")
    with pytest.raises(DataError, match=r"case a: .*partial must be yes, no or empty"):
        read_manifest(tmp_path / "m.csv")
