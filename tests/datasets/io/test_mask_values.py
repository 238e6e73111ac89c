"""Masks of 0 and 255, percent, 65535, NaN, negative or inverted: refused at every door, mended."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from hilum.cli.app import app
from hilum.core.case import Case
from hilum.core.errors import DataError, SettingsError
from hilum.core.geometry import Grid
from hilum.datasets.check.run import check
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.mask_values import read_values, refuse_sentinels
from hilum.datasets.io.nifti import read_label, write_volume
from hilum.datasets.manifest import read_manifest, write_manifest
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.segmenter.assessment.evaluate_case import measure_case

GRID = Grid.from_spacing((12, 24, 24), (3, 2, 2))
NODE = np.zeros(GRID.shape, bool)
NODE[4:8, 10:14, 10:14] = True


def write_mask(file: Path, array: np.ndarray) -> Path:
    """Write any type of voxel, as other tools do."""
    affine = GRID.affine[:, [2, 1, 0, 3]]
    nibabel.save(nibabel.Nifti1Image(array.transpose(2, 1, 0), affine), file)
    return file


def a_case(folder: Path, name: str, mask: np.ndarray) -> Case:
    ct = np.full(GRID.shape, -1000, np.float32)
    ct[:, 2:-2, 2:-2] = 40 + np.arange(20, dtype=np.float32) + ord(name[0])
    ct[5, 5, 5] = 900
    place = folder / name
    write_volume(place / "ct.nii.gz", ct, GRID)
    label = write_mask(place / "label.nii.gz", mask)
    return Case(name, name, {"ct": place / "ct.nii.gz"}, label)


# What a tool wrote, and the options that the message must offer.
ODD: dict[str, tuple[np.ndarray, str]] = {
    "0 and 255": (np.where(NODE, 255, 0).astype(np.uint8), "--value 255=1"),
    "all 255": (np.full(GRID.shape, 255, np.uint8), "--value 255=1"),
    "0 and 254": (np.where(NODE, 254, 0).astype(np.uint8), "--value 254=1"),
    "percent": (np.where(NODE, 100, 0).astype(np.uint8), "--value 100=1"),
    "0 and 65535": (np.where(NODE, 65535, 0).astype(np.uint16), "--value 65535=1"),
    "0 and 0.996": (np.where(NODE, 254 / 255, 0).astype(np.float32), "--value 0.9961=1"),
    "infinity": (np.where(NODE, 1, np.inf).astype(np.float32), "--value 1=1 --value=inf=0"),
    "NaN outside": (np.where(NODE, 1, np.nan).astype(np.float32), "--value 1=1 --value nan=0"),
    "1000 and -1": (
        np.where(NODE, 1000, np.where(np.roll(NODE, 5, 2), -1, 0)).astype(np.int16),
        "--value 1000=1 --value=-1=255",
    ),
    "inverted": (np.where(NODE, 0, 1).astype(np.uint8), "--value 1=0 --value 0=1"),
}
SOUND: dict[str, np.ndarray] = {
    "0 and 1": NODE.astype(np.uint8),
    "float 1.0": NODE.astype(np.float32),
    "1 and 255": np.where(NODE, 1, np.where(np.roll(NODE, 5, 2), 255, 0)).astype(np.uint8),
    "unknown outside": np.where(NODE, 1, 255).astype(np.uint8),
    "float 0.9999999": (NODE * np.float32(0.9999999)).astype(np.float32),
    "empty": np.zeros(GRID.shape, np.uint8),
    "two classes": (NODE + np.roll(NODE, 5, 2) * 2).astype(np.int16),
}
GENERIC = PrepareSettings.model_validate({"body_crop": False})


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("split", ["train", "test"])
def test_check_and_prepare_refuse_it_among_sound_masks_in_every_split(
    tmp_path: Path, name: str, split: str
) -> None:
    array, options = ODD[name]
    bad = a_case(tmp_path, "bad", array)
    cases = [a_case(tmp_path, "good", SOUND["0 and 1"]), bad]
    rows = [Case(c.id, c.patient, c.volumes, c.label, split=split) for c in cases]
    file = write_manifest(tmp_path / "m.csv", rows)
    problems = [p for p in check(file).problems if p.severity == "block"]
    assert {p.case for p in problems} == {"bad"}
    assert any(options in p.remedy for p in problems)
    with pytest.raises(DataError, match="1 of 2 are prepared") as error:
        prepare(file, tmp_path / "store", GENERIC)
    assert options in str(error.value)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("name", [name for name in ODD if name != "all 255"])
def test_the_remedy_works_when_it_is_pasted(tmp_path: Path, name: str) -> None:
    array, _ = ODD[name]
    cases = [a_case(tmp_path, "good", SOUND["0 and 1"]), a_case(tmp_path, "bad", array)]
    file = write_manifest(tmp_path / "m.csv", cases)
    (remedy,) = {p.remedy for p in check(file).problems if p.severity == "block"}
    command = re.search(r"hilum (import table .*?)\)", remedy)
    assert command is not None
    words = shlex.split(command[1].replace("--out fixed", f"--out {tmp_path / 'fixed'}"))
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    for case in read_manifest(tmp_path / "fixed" / "manifest.csv"):
        assert case.label is not None
        mask = read_label(case.label).array
        # A number that marks background in one file may mark nodes in another.
        if case.id == "bad" or name != "inverted":
            assert np.array_equal(mask == 1, NODE), case.id


@pytest.mark.parametrize("name", ["0 and 255", "inverted", "0 and 65535"])
def test_import_leaves_it_out_and_says_what_to_add(tmp_path: Path, name: str) -> None:
    array, options = ODD[name]
    a_case(tmp_path / "raw", "good", SOUND["0 and 1"])
    a_case(tmp_path / "raw", "bad", array)
    lines: list[str] = []
    file = import_cohort("folder", tmp_path / "raw", tmp_path / "out", say=lines.append)
    assert [case.id for case in read_manifest(file)] == ["good"]
    assert any(line.startswith("  bad: ") and options in line for line in lines)
    values = read_values(re.findall(r"--value[ =](\S+?=\d+)", options))
    file = import_cohort("folder", tmp_path / "raw", tmp_path / "out", values=values)
    # Inverting all of them makes an inverted mask of the sound one.
    expected = ["bad"] if name == "inverted" else ["bad", "good"]
    assert [case.id for case in read_manifest(file)] == expected


@pytest.mark.parametrize("name", SOUND)
def test_sound_masks_pass_every_door(tmp_path: Path, name: str) -> None:
    case = a_case(tmp_path, "good", SOUND[name])
    file = write_manifest(tmp_path / "m.csv", [case])
    assert not check(file).blocking
    assert prepare(file, tmp_path / "store", GENERIC).ids == ["good"]


def test_255_beside_classes_stays_unknown_and_is_told(tmp_path: Path) -> None:
    a_case(tmp_path / "raw", "mixed", SOUND["1 and 255"])
    a_case(tmp_path / "raw", "plain", ODD["0 and 255"][0])
    lines: list[str] = []
    file = import_cohort(
        "folder", tmp_path / "raw", tmp_path / "out", values={255: 1}, say=lines.append
    )
    masks = {c.id: read_label(c.label).array for c in read_manifest(file) if c.label}
    assert sorted(np.unique(masks["mixed"])) == [0, 1, 255]
    assert np.array_equal(masks["plain"] == 1, NODE)
    assert any(line.startswith("warning: mixed: 64 voxels of 255 beside") for line in lines)


def test_evaluate_refuses_it_in_reference_and_prediction(tmp_path: Path) -> None:
    good, bad = a_case(tmp_path, "g", SOUND["0 and 1"]), a_case(tmp_path, "b", ODD["0 and 255"][0])
    assert good.label is not None
    assert bad.label is not None
    with pytest.raises(DataError, match="the label must hold a class beside 255"):
        measure_case(bad, good.label)
    with pytest.raises(DataError, match="the prediction must hold a class beside 255"):
        measure_case(good, bad.label)


@pytest.mark.parametrize("text", ["255", "a=1", "255=x", "255=300", "255=-1", "=1"])
def test_a_wrong_value_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        read_values([text])


def test_a_lesion_that_fills_a_small_box_is_no_inverted_mask() -> None:
    array = np.ones((8, 8, 8), np.uint8)
    array[0, 0, 0] = 0
    refuse_sentinels(array, None, None)
