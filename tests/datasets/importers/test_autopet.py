"""autoPET I and III are read with the names that they have: spaces, umlauts, two tracers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import read_manifest

GRID = Grid.from_spacing((3, 4, 5), (2.0, 1.0, 1.5))


def scans(root: Path, *names: str) -> Path:
    """Write a small scan of zeros for each name."""
    for name in names:
        write_volume(root / name, np.zeros(GRID.shape, np.int16), GRID)
    return root


STUDY = "03-23-2003-NA-PET-CT Ganzkörper  primär mit KM-77654"


def tree_1(root: Path) -> Path:
    for folder in (f"PETCT_0011f3deaf/{STUDY}", "PETCT_0011f3deaf/05-01-2004-NA-PET-CT-1"):
        scans(root / folder, *(f"{n}.nii.gz" for n in ("SUV", "CTres", "CT", "SEG", "PET")))
    scans(root / "PETCT_01140d52d8" / STUDY, "SUV.nii.gz", "CTres.nii.gz")
    return root


def tree_3(root: Path) -> Path:
    name = "fdg_0011f3deaf_03-23-2003-NA-PET-CT Ganzkoerper  primaer mit KM-77654"
    names = [name, "psma_95b833d46f153cd2_2017-11-18", "psma_95b833d46f153cd2_2018-04-16"]
    scans(root, *(f"imagesTr/{n}_000{i}.nii.gz" for n in names for i in range(2)))
    return scans(root, *(f"labelsTr/{n}.nii.gz" for n in names))


def test_the_first_challenge_takes_suv_and_the_resampled_ct(tmp_path: Path) -> None:
    root = tree_1(tmp_path / "FDG-PET-CT-Lesions")
    cases = read_manifest(import_cohort("autopet", root, tmp_path / "out"))
    assert [case.id for case in cases] == [
        "PETCT_0011f3deaf_03-23-2003-NA-PET-CT_Ganzkorper_primar_mit_KM-77654",
        "PETCT_0011f3deaf_05-01-2004-NA-PET-CT-1",
        "PETCT_01140d52d8_03-23-2003-NA-PET-CT_Ganzkorper_primar_mit_KM-77654",
    ]
    assert [case.patient for case in cases] == ["PETCT_0011f3deaf"] * 2 + ["PETCT_01140d52d8"]
    folder = root / "PETCT_0011f3deaf" / STUDY
    assert cases[0].volumes == {"ct": folder / "CTres.nii.gz", "pet": folder / "SUV.nii.gz"}
    assert [case.label is None for case in cases] == [False, False, True]


def test_the_original_ct_can_be_taken_instead(tmp_path: Path) -> None:
    root = tree_1(tmp_path / "raw")
    path = import_cohort("autopet", root, tmp_path / "out", {"CTres": "", "CT": "ct"})
    assert [sorted(case.volumes) for case in read_manifest(path)] == [["ct", "pet"]] * 2 + [["pet"]]
    assert read_manifest(path)[0].volumes["ct"].name == "CT.nii.gz"


def test_the_third_challenge_groups_studies_by_patient_and_tracer(tmp_path: Path) -> None:
    root = tree_3(tmp_path / "psma-fdg-pet-ct-lesions")
    path = import_cohort("autopet", root, tmp_path / "out")
    cases = read_manifest(path)
    assert [(case.id, case.patient, case.site) for case in cases] == [
        (
            "fdg_0011f3deaf_03-23-2003-NA-PET-CT_Ganzkoerper_primaer_mit_KM-77654",
            "fdg_0011f3deaf",
            "UKT",
        ),
        ("psma_95b833d46f153cd2_2017-11-18", "psma_95b833d46f153cd2", "LMU"),
        ("psma_95b833d46f153cd2_2018-04-16", "psma_95b833d46f153cd2", "LMU"),
    ]
    assert all(sorted(case.volumes) == ["ct", "pet"] and case.label for case in cases)
    assert cases[0].volumes["pet"].name.endswith("Ganzkoerper  primaer mit KM-77654_0001.nii.gz")
    assert '"fdg_0011f3deaf_03-23-2003-NA-PET-CT Ganzkoerper  primaer mit KM-77654"' in (
        path.with_name("import.json").read_text(encoding="utf-8")
    ), "the old name must be on record"


def test_tracers_can_be_kept_apart(tmp_path: Path) -> None:
    root = tree_3(tmp_path / "raw")
    names = {"psma": "pet_psma", "fdg": "pet_fdg"}
    cases = read_manifest(import_cohort("autopet", root, tmp_path / "out", names))
    assert [sorted(case.volumes) for case in cases] == [
        ["ct", "pet_fdg"],
        ["ct", "pet_psma"],
        ["ct", "pet_psma"],
    ]


def test_a_missing_channel_and_a_damaged_study_stop_nothing(tmp_path: Path) -> None:
    root = tree_3(tmp_path / "raw")
    (root / "imagesTr" / "psma_95b833d46f153cd2_2018-04-16_0001.nii.gz").unlink()
    (root / "labelsTr" / "psma_95b833d46f153cd2_2017-11-18.nii.gz").write_bytes(b"")
    cases = read_manifest(import_cohort("autopet", root, tmp_path / "out"))
    assert [sorted(case.volumes) for case in cases] == [["ct", "pet"], ["ct"]]


def test_the_folder_of_one_patient_is_too_deep(tmp_path: Path) -> None:
    root = tree_1(tmp_path / "FDG-PET-CT-Lesions")
    with pytest.raises(DataError, match=f"must hold <PETCT_id>/<study>/.*; try {root}$"):
        import_cohort("autopet", root / "PETCT_0011f3deaf", tmp_path / "out")
