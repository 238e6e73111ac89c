"""`--name x=` skips and `--name x=modality` renames, in every importer that there is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.core.notes import read_notes
from hilum.datasets.importers.importing import FORMATS, import_cohort
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import notes_file, read_manifest

from ..conftest import write_series

GRID = Grid.from_spacing((6, 10, 12), (3.0, 2.0, 1.5))
RAW = {"channel_names": {"0": "CT", "1": "SUV"}, "file_ending": ".nii.gz", "labels": {"node": 1}}


def scans(*names: str) -> Callable[[Path], Path]:
    """Return what writes a small scan for each name; a mask where the name has no number."""

    def write(root: Path) -> Path:
        for name in names:
            array = np.zeros(GRID.shape, np.uint8)
            array[2:4, 3:5, 4:6] = 1
            write_volume(root / f"{name}.nii.gz", array, GRID)
        return root

    return write


def with_text(make: Callable[[Path], Path], file: str, text: str, root: str = "") -> Callable:
    """Return what also writes a file, and gives the path `root` in it."""

    def write(folder: Path) -> Path:
        make(folder)
        (folder / file).write_text(text)
        return folder / root

    return write


def lnq(root: Path) -> Path:
    sitk = pytest.importorskip("SimpleITK")
    for part in ("ct", "seg"):
        array = np.zeros((6, 8, 10), np.uint8)
        array[2:4, 3:5, 3:6] = 1
        (root / "train").mkdir(parents=True, exist_ok=True)
        file = root / "train" / f"lnq2023-train-0001-{part}.nrrd"
        sitk.WriteImage(sitk.GetImageFromArray(array), str(file))
    return root


def dicom(root: Path) -> Path:
    pytest.importorskip("pydicom")
    write_series(root / "ct")
    write_series(root / "mr", "MR", uid="1.2.3.3")
    return root


NNUNET = scans("imagesTr/x_0000", "imagesTr/x_0001", "labelsTr/x")
DECATHLON = {
    "modality": {"0": "CT"},
    "training": [{"image": "imagesTr/x.nii.gz", "label": "labelsTr/x.nii.gz"}],
}
SEGRAP = [f"Internal_Cohort/{end}" for end in ("imagesTr/x_0000", "imagesTr/x_0001", "labelsTr/x")]
NIH = "MED_ABD_LYMPH_MASKS/MED_LYMPH_001/MED_LYMPH_001_mask"

TREES: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "folder": (scans("a/ct", "a/SUV", "a/label"), ()),
    "pattern": (scans("a_ct", "a_SUV", "a_label"), ("pattern={case}_{modality}.nii.gz",)),
    "table": (
        with_text(
            scans("c", "s", "l"),
            "t.csv",
            "case,ct,SUV,label\na,c.nii.gz,s.nii.gz,l.nii.gz\n",
            "t.csv",
        ),
        (),
    ),
    "dicom": (dicom, ()),
    "nnunet_raw": (with_text(NNUNET, "dataset.json", json.dumps(RAW)), ()),
    "decathlon": (
        with_text(scans("imagesTr/x", "labelsTr/x"), "dataset.json", json.dumps(DECATHLON)),
        (),
    ),
    "hecktor": (scans("imagesTr/CHUM-001__CT", "imagesTr/CHUM-001__PT", "labelsTr/CHUM-001"), ()),
    "autopet": (scans("P1/s/CTres", "P1/s/SUV", "P1/s/SEG", "P1/s/CT"), ()),
    "deep_psma": (scans("p1/PSMA/CT", "p1/PSMA/PET", "p1/PSMA/TTB"), ()),
    "lnq": (lnq, ()),
    "nih_nodes": (scans(NIH, "MED_LYMPH_001"), ()),
    "lynos": (scans("Pat1/pat1_data", "Pat1/pat1_labels_LymphNodes"), ()),
    "segrap": (scans(*SEGRAP), ()),
    "enhance_pet": (
        scans("imaging-data/images/CT/0001", "imaging-data/images/PT/0001"),
        (),
    ),
    "hnts_mrg": (scans("2/preRT/2_preRT_T2", "2/preRT/2_preRT_mask"), ()),
    "longitudinal_ct": (scans("inputsTr/a1_BL_img_00", "inputsTr/a1_BL_mask_00"), ()),
    "uls23": (scans("S/images/x_lesion_01", "S/labels/x_lesion_01"), ()),
}
"""A cohort of one case of each format, and its options."""

ROWS: list[tuple[str, dict[str, str], set[str], bool]] = [
    ("folder", {"SUV": "pet"}, {"ct", "pet"}, True),
    ("folder", {"suv.nii.gz": "pet", "label": ""}, {"ct", "pet"}, False),
    ("folder", {"SUV": "pet", "ct": "skip"}, {"pet"}, True),
    ("pattern", {"SUV": "pet"}, {"ct", "pet"}, True),
    ("pattern", {"SUV": "", "label": ""}, {"ct"}, False),
    ("table", {"SUV": "pet"}, {"ct", "pet"}, True),
    ("table", {"SUV": "", "label": ""}, {"ct"}, False),
    ("dicom", {"t1 tse": "mr_late"}, {"ct", "mr_late"}, False),
    ("dicom", {"t1 tse": ""}, {"ct"}, False),
    ("nnunet_raw", {"SUV": "pet_fdg"}, {"ct", "pet_fdg"}, True),
    ("nnunet_raw", {"SUV": ""}, {"ct"}, True),
    ("decathlon", {"CT": "ct_ce"}, {"ct_ce"}, True),
    ("hecktor", {"PT": "pet_fdg"}, {"ct", "pet_fdg"}, True),
    ("hecktor", {"PT": "skip"}, {"ct"}, True),
    ("autopet", {"CTres": "", "CT": "ct", "SEG": ""}, {"ct", "pet"}, False),
    ("autopet", {"SUV": ""}, {"ct"}, True),
    ("deep_psma", {"pet_psma": "pet"}, {"ct", "pet"}, True),
    ("deep_psma", {"TTB": "", "ct": ""}, {"pet_psma"}, False),
    ("lnq", {"ct": "ct_ce"}, {"ct_ce"}, True),
    ("lnq", {"seg": ""}, {"ct"}, False),
    ("nih_nodes", {"ct": "ct_ce"}, {"ct_ce"}, True),
    ("nih_nodes", {"mask": ""}, {"ct"}, False),
    ("lynos", {"data": "ct_ce"}, {"ct_ce"}, True),
    ("lynos", {"labels_lymphnodes": ""}, {"ct"}, False),
    ("segrap", {"0000": ""}, {"ct_ce"}, True),
    ("segrap", {"0001": "ct_late"}, {"ct_nc", "ct_late"}, True),
    ("enhance_pet", {"PT": ""}, {"ct"}, False),
    ("enhance_pet", {"PT": "pet_fdg"}, {"ct", "pet_fdg"}, False),
    ("hnts_mrg", {"T2": "mr_late"}, {"mr_late"}, True),
    ("hnts_mrg", {"mask": ""}, {"mr_t2"}, False),
    ("longitudinal_ct", {"img": "ct_late"}, {"ct_late"}, True),
    ("longitudinal_ct", {"mask": ""}, {"ct"}, False),
    ("uls23", {"image": "ct_late"}, {"ct_late"}, True),
    ("uls23", {"labels": ""}, {"ct"}, False),
]


def imported(name: str, tmp_path: Path, names: dict[str, str]) -> Path:
    make, options = TREES[name]
    return import_cohort(name, make(tmp_path / "raw"), tmp_path / "out", names, options=options)


@pytest.mark.parametrize(("name", "names", "volumes", "label"), ROWS)
def test_names_skip_and_rename(
    name: str, names: dict[str, str], volumes: set[str], label: bool, tmp_path: Path
) -> None:
    file = imported(name, tmp_path, names)
    (case,) = read_manifest(file)
    assert set(case.volumes) == volumes
    assert (case.label is not None) is label
    assert all(path.is_file() for path in case.files.values())
    # What the user skips, or names, is not said to be passed over.
    told = [note.text for note in read_notes(notes_file(file)) if note.severity == "warning"]
    assert not [text for text in told if any(word in text for word in names)]


def test_every_format_of_ours_is_in_the_table() -> None:
    ours = {name for name in FORMATS if FORMATS[name].example is None}
    assert ours <= set(TREES)
    assert set(TREES) == {name for name, *_ in ROWS}


def test_a_name_that_no_case_has_is_told(tmp_path: Path) -> None:
    file = imported("folder", tmp_path, {"adc": "mr_adc", "SUV": "pet"})
    (note,) = read_notes(notes_file(file))
    assert note.text == "no case has mr_adc, which adc=mr_adc asks for"


def test_files_that_a_pattern_does_not_fit_are_named_with_the_option(tmp_path: Path) -> None:
    file = imported("pattern", tmp_path, {})
    (note,) = read_notes(notes_file(file))
    assert "passed over: a_SUV.nii.gz; suv in the place of {modality}" in note.text
    assert "--name suv=pet" in note.text


TWICE = {**RAW, "channel_names": {"0": "CT", "1": "CT"}}


@pytest.mark.parametrize(
    ("names", "volumes"),
    [({"1": "ct_late"}, ["ct", "ct_late"]), ({"1": ""}, ["ct"]), ({"0": "skip"}, ["ct"])],
)
def test_channels_of_one_name_are_told_apart_by_number(
    names: dict[str, str], volumes: list[str], tmp_path: Path
) -> None:
    root = with_text(NNUNET, "dataset.json", json.dumps(TWICE))(tmp_path / "raw")
    with pytest.raises(DataError, match=r"ct in channels 0 and 1: CT, CT; .*--name 1=ct_late"):
        import_cohort("nnunet_raw", root, tmp_path / "out")
    (case,) = read_manifest(import_cohort("nnunet_raw", root, tmp_path / "out", names))
    assert list(case.volumes) == volumes
    number = "0001" if names.get("0") else "0000"
    assert case.volumes["ct"].name == f"x_{number}.nii.gz"


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({"background": 0, "node": 1}, ""),
        ({"background": 0, "whole": [1, 2], "core": 1}, ""),
        ({"0": "background", "1": "node"}, ""),
        ({"background": 0, "node": 1, "ignore": 3}, ""),
        ({"background": 0, "node": 2}, "found 1; labels has 0, 2"),
        ({"background": 0}, "found 1; labels has 0"),
        ({"background": 0, "ignore": 2}, "found 1; labels has 0"),
        ({}, ""),
        ("node", ""),
    ],
)
def test_a_value_that_labels_lacks_leaves_the_case_out(
    labels: object, told: str, tmp_path: Path
) -> None:
    text = json.dumps({**RAW, "labels": labels})
    root = with_text(NNUNET, "dataset.json", text)(tmp_path / "raw")
    if not told:
        assert len(read_manifest(import_cohort("nnunet_raw", root, tmp_path / "out"))) == 1
        return
    with pytest.raises(DataError, match=f"must stand in labels of dataset.json, {told}"):
        import_cohort("nnunet_raw", root, tmp_path / "out")
    # The remedy, as it is printed.
    again = import_cohort("nnunet_raw", root, tmp_path / "out", values={1: 0})
    assert len(read_manifest(again)) == 1
