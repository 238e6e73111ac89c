"""One lattice at every door: boxes, axes, directions and rounded headers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.geometry import Grid, lattice_match
from hilum.core.notes import read_notes
from hilum.datasets.check.case import check_case
from hilum.datasets.check.run import check
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.lattice import apart, drawn_on, place_mask
from hilum.datasets.io.nifti import Volume, read_label, write_volume
from hilum.datasets.manifest import notes_file, write_manifest
from hilum.datasets.nnunet_export import NnunetExport, export_nnunet
from hilum.datasets.prepare.case import PrepareSettings, prepare_case

SCAN = Grid.from_spacing((10, 20, 24), (3.0, 0.9765625, 0.9765625), origin=(-12.3, 4.5, 600))
MARKED = (slice(3, 6), slice(8, 12), slice(9, 14))


def mask_on(grid: Grid) -> np.ndarray:
    """Return the marked box on any grid, voxel by voxel through the patient (slow, obvious)."""
    array = np.zeros(grid.shape, np.uint8)
    for index in np.ndindex(*grid.shape):
        d, h, w = np.round(SCAN.to_index(grid.to_world(index))).astype(int)
        array[index] = 3 <= d < 6 and 8 <= h < 12 and 9 <= w < 14
    return array


def reoriented(axes: tuple[int, int, int], flips: tuple[int, ...]) -> Grid:
    """Return the scan's grid stored in another order of axes and direction."""
    affine = SCAN.affine[:, [*axes, 3]].copy()
    shape = tuple(SCAN.shape[axis] for axis in axes)
    for axis in flips:
        affine[:3, 3] += affine[:3, axis] * (shape[axis] - 1)
        affine[:3, axis] *= -1
    return Grid(shape, affine)  # pyright: ignore[reportArgumentType]


def stretched(factor: float, grid: Grid = SCAN) -> Grid:
    """Return a grid with spacing multiplied in plane."""
    affine = grid.affine.copy()
    affine[:3, 1:3] *= factor
    return Grid(grid.shape, affine)


def moved(mm: float) -> Grid:
    """Return the scan's grid moved to the right."""
    affine = SCAN.affine.copy()
    affine[0, 3] += mm
    return Grid(SCAN.shape, affine)


SAME: dict[str, tuple[Grid, str, str]] = {
    "itself": (SCAN, "equal", ""),
    "spacing rounded at the fourth decimal": (stretched(0.9766 / 0.9765625), "equal", ""),
    "origin rounded to 0.05 mm": (moved(0.05), "equal", ""),
    "LPS storage": (reoriented((0, 1, 2), (1, 2)), "turned", ""),
    "head first": (reoriented((0, 1, 2), (0,)), "turned", ""),
    "sagittal storage": (reoriented((2, 0, 1), ()), "turned", ""),
    "coronal, flipped": (reoriented((1, 0, 2), (0, 2)), "turned", ""),
    "a row more before": (SCAN.crop((0, -1, 0), (10, 21, 24)), "offset", "info"),
    "a row more after": (SCAN.crop((0, 0, 0), (10, 21, 24)), "offset", "info"),
    "a row less": (SCAN.crop((0, 0, 0), (10, 19, 24)), "offset", "warning"),
    "a sub-box": (SCAN.crop((2, 6, 6), (6, 9, 10)), "offset", "warning"),
    "a larger box": (SCAN.crop((-2, -3, -4), (16, 30, 40)), "offset", "info"),
    "shifted by two rows": (SCAN.crop((0, 2, 0), SCAN.shape), "offset", "warning"),
}


@pytest.mark.parametrize("name", SAME)
def test_a_mask_of_the_same_lattice_is_put_in_place_voxel_by_voxel(name: str) -> None:
    grid, kind, severity = SAME[name]
    assert lattice_match(SCAN, grid).kind == kind
    placed, notes = place_mask(Volume(mask_on(grid), grid), SCAN, case="p")
    expected = np.zeros(SCAN.shape, np.uint8)
    expected[MARKED] = 1
    assert np.array_equal(placed.array, expected)
    assert placed.grid is SCAN
    assert [note.severity for note in notes] == ([severity] if severity else [])


def test_turned_and_offset_at_once() -> None:
    box = SCAN.crop((2, 6, 6), (6, 9, 10))
    affine = box.affine[:, [1, 2, 0, 3]].copy()
    affine[:3, 3] += affine[:3, 0] * 8
    affine[:3, 0] *= -1
    grid = Grid((9, 10, 6), affine)
    assert lattice_match(SCAN, grid).kind == "offset"
    placed, _ = place_mask(Volume(mask_on(grid), grid), SCAN)
    assert placed.array[MARKED].all()
    assert placed.array.sum() == 60


APART: dict[str, tuple[Grid, str]] = {
    "half a voxel": (moved(0.488), "up to 0.488 mm apart"),
    "another spacing": (stretched(1.02), "up to "),
    "a slice thickness of 4": (SCAN.with_spacing((4, 0.9765625, 0.9765625)), "4 x 0.97656"),
    "every second row": (SCAN.with_spacing((3, 1.953125, 0.9765625)), "10 x 10 x 24 and 10 x 20"),
    "another bed position": (SCAN.crop((40, 0, 0), SCAN.shape), "without one in common"),
    "a mask of 0.2 mm off": (moved(0.2), "up to 0.2 mm apart"),
}


@pytest.mark.parametrize("name", APART)
def test_another_lattice_is_refused_with_numbers(name: str) -> None:
    grid, words = APART[name]
    assert not lattice_match(SCAN, grid).same_lattice
    assert words in apart(SCAN, grid)
    with pytest.raises(DataError, match="must lie on the grid of its scan"):
        place_mask(Volume(np.zeros(grid.shape, np.uint8), grid), SCAN)


def test_marked_voxels_beyond_the_scan_are_refused_with_their_number() -> None:
    grid = SCAN.crop((0, -1, 0), (10, 21, 24))
    array = mask_on(grid)
    array[4, 0, 3:5] = 1
    with pytest.raises(DataError, match=r"found 2 of 62 marked voxels \(0\.00572 ml\) outside"):
        place_mask(Volume(array, grid), SCAN)


def test_the_same_box_comes_before_another_and_ct_before_pet() -> None:
    box = SCAN.crop((0, 0, 0), (8, 20, 24))
    assert drawn_on(SCAN, {"pet": box, "mr": SCAN}) == "mr"
    assert drawn_on(SCAN, {"pet": SCAN, "ct_ce": reoriented((0, 1, 2), (1,))}) == "ct_ce"
    assert drawn_on(SCAN, {"pet": moved(0.5)}) == ""


@pytest.fixture
def make(tmp_path: Path) -> Callable[[Grid], Case]:
    """Return a function that writes a case whose label lies on a grid."""
    ct = np.full(SCAN.shape, -1000, np.float32)
    ct[:, 2:-2, 2:-2] = 40
    ct[5, 10, 10] = 900

    def write(grid: Grid) -> Case:
        write_volume(tmp_path / "ct.nii", ct, SCAN)
        write_volume(tmp_path / "label.nii", mask_on(grid), grid)
        return Case("p", "p", {"ct": tmp_path / "ct.nii"}, tmp_path / "label.nii")

    return write


@pytest.mark.parametrize("name", ["a row more before", "LPS storage", "a sub-box"])
def test_every_door_takes_it_alike(make: Callable[[Grid], Case], name: str, tmp_path: Path) -> None:
    grid, _, severity = SAME[name]
    case = make(grid)
    prepared = prepare_case(case, PrepareSettings.model_validate({"body_crop": False}))
    assert prepared.label is not None
    assert prepared.label[MARKED].all()
    assert int(prepared.label.sum()) == 60
    assert [note.severity for note in prepared.notes] == ([severity] if severity else [])
    findings = check_case(case)
    assert findings.facts["label"]["volume_ml"] == pytest.approx(60 * SCAN.voxel_ml, abs=1e-3)
    assert not [p for p in findings.problems if p.severity == "block"]
    assert any("another box" in p.rule for p in findings.problems) == bool(severity)
    told = read_notes(notes_file(import_again(tmp_path)))
    assert [(n.severity, "another box" in n.kind) for n in told] == (
        [(severity, True)] if severity else []
    )
    manifest = write_manifest(tmp_path / "manifest.csv", [case])
    out = tmp_path / "Dataset001_X"
    export_nnunet(manifest, out, NnunetExport.model_validate({}))
    written = read_label(out / "labelsTr" / "p.nii.gz")
    assert written.grid.same_as(SCAN)
    assert int(written.array.sum()) == 60


def import_again(root: Path) -> Path:
    """Import the case of `make` from a table."""
    table = root / "cases.csv"
    table.write_text("case,ct,label\np,ct.nii,label.nii\n")
    return import_cohort("table", table, root / "imported")


@pytest.mark.parametrize("name", APART)
def test_every_door_refuses_it_alike(
    make: Callable[[Grid], Case], name: str, tmp_path: Path
) -> None:
    case = make(APART[name][0])
    with pytest.raises(DataError, match="grid of one of the modalities"):
        prepare_case(case, PrepareSettings.model_validate({}))
    (problem,) = [p for p in check_case(case).problems if p.severity == "block"]
    assert "grid of one of the modalities" in problem.rule
    manifest = import_again(tmp_path)
    (note,) = read_notes(notes_file(manifest))
    assert (note.severity, note.kind, note.case) == ("warning", problem.rule, "p")
    assert APART[name][1] in note.text
    # What import said is not said again beside what blocks.
    assert [p.severity for p in check(manifest).problems if p.rule == problem.rule] == ["block"]


def test_a_mask_of_organs_of_another_patient_is_refused_at_check_and_prepare(
    make: Callable[[Grid], Case], tmp_path: Path
) -> None:
    far = SCAN.crop((400, 0, 0), SCAN.shape)
    organs = write_volume(tmp_path / "organs.nii", np.ones(far.shape, np.uint8), far)
    case = replace(make(SCAN), anatomy=organs)
    settings = PrepareSettings.model_validate({})
    for with_label in (True, False):
        with pytest.raises(DataError, match=r"organs must lie on the patient, found .* in common"):
            prepare_case(case, settings, with_label=with_label)
    (problem,) = [p for p in check_case(case).problems if p.severity == "block"]
    assert problem.rule == "the mask of organs must lie on the patient"
    part = write_volume(organs, np.ones((2, 3, 4), np.uint8), SCAN.crop((4, 8, 8), (2, 3, 4)))
    assert not [
        p for p in check_case(replace(case, anatomy=part)).problems if p.severity == "block"
    ]
