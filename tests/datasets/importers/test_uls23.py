"""ULS23 gives boxes around one lesion: partial labels, patients by name, sources as sites."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.core.notes import Note, read_notes
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.importers.uls23 import patient_of
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import notes_file, read_manifest

GRID = Grid.from_spacing((4, 6, 6), (2.0, 0.8, 0.8))


def boxes(root: Path, folder: str, *names: str) -> None:
    """Write a box for each name."""
    array = np.zeros(GRID.shape, np.int16)
    array[2, 3, 3] = 1
    for name in names:
        write_volume(root / folder / f"{name}.nii.gz", array, GRID)


NEW = ("000010_02_02_100_lesion_01", "000026_06_01_257_lesion_01")
LIDC = ("lidcidri_100_lesion_01_sample_0", "lidcidri_100_lesion_02_sample_0")


def tree(root: Path) -> Path:
    for part in ("images", "labels"):
        boxes(root, f"novel_data/ULS23_DeepLesion3D/{part}", *NEW)
        boxes(root, f"processed_data/fully_annotated/LIDC-IDRI/{part}", *LIDC)
    some = "processed_data/partially_annotated"
    boxes(
        root, f"{some}/DeepLesion/images", "000010_01_01_050_sample_0", "000011_01_01_001_sample_0"
    )
    boxes(root, f"{some}/DeepLesion/labels_grabcut", "000010_01_01_050_sample_0")
    boxes(root, f"{some}/CCC18/labels_grabcut", "ccc18_0000_sample_0", "ccc18_0001_sample_0")
    (root / f"{some}/CCC18/images").mkdir()
    return root


def told(path: Path) -> list[Note]:
    return read_notes(notes_file(path))


def test_every_source_is_read_with_partial_labels(tmp_path: Path) -> None:
    root = tree(tmp_path / "ULS23")
    path = import_cohort("uls23", root, tmp_path / "out")
    cases = {case.id: case for case in read_manifest(path)}
    assert list(cases) == [
        *(f"ULS23_DeepLesion3D_{name}" for name in NEW),
        *(f"LIDC-IDRI_{name}" for name in LIDC),
        *(f"DeepLesion_{n}_sample_0" for n in ("000010_01_01_050", "000011_01_01_001")),
    ]
    assert [case.partial for case in cases.values()] == [True] * 5 + [False]
    first = cases[f"ULS23_DeepLesion3D_{NEW[0]}"]
    place = root / "novel_data" / "ULS23_DeepLesion3D"
    assert first.volumes == {"ct": place / "images" / f"{NEW[0]}.nii.gz"}
    assert first.label == place / "labels" / f"{NEW[0]}.nii.gz"
    assert (first.site, first.patient) == ("ULS23_DeepLesion3D", "deeplesion_000010")
    # The same patient of DeepLesion in another source, and two lesions of one patient.
    assert cases["DeepLesion_000010_01_01_050_sample_0"].patient == first.patient
    assert len({cases[f"LIDC-IDRI_{name}"].patient for name in LIDC}) == 1
    assert [(note.severity, note.text.split(";")[0]) for note in told(path)] == [
        ("warning", "2 masks have no scan in images and were passed over"),
        ("warning", "1 masks were grown from a measurement"),
    ]


def test_grown_masks_can_be_skipped_and_one_source_is_enough(tmp_path: Path) -> None:
    root = tree(tmp_path / "ULS23") / "processed_data" / "partially_annotated" / "DeepLesion"
    path = import_cohort("uls23", root, tmp_path / "out", {"labels_grabcut": ""})
    assert [case.label for case in read_manifest(path)] == [None, None]
    assert told(path) == []


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("000010_02_02_100_lesion_01", "deeplesion_000010"),
        ("004427_01_01_183_sample_0", "deeplesion_004427"),
        ("lidcidri_100_lesion_02_sample_0", "lidcidri_100"),
        ("ccc18_0105_sample_0", "ccc18_0105"),
        ("bone_007_lesion_03", "bone_007"),
        ("kits21_00003", "kits21_00003"),
    ],
)
def test_the_patient_of_a_box_is_in_its_name(name: str, patient: str) -> None:
    assert patient_of(name) == patient


def test_another_layout_is_refused(tmp_path: Path) -> None:
    boxes(tmp_path / "raw", "imagesTr", "a")
    with pytest.raises(DataError, match="must hold <source>/images and"):
        import_cohort("uls23", tmp_path / "raw", tmp_path / "out")
