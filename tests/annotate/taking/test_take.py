"""A corrected mask comes back from any program as the label of its case, and of that case alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from hilum.annotate.formats.slicer import (
    Segment,
    read_segmentation,
    write_segmentation,
)
from hilum.annotate.taking.settings import TakeSettings
from hilum.annotate.taking.versions import versions
from hilum.cli.app import app
from hilum.core.errors import UserError
from hilum.core.geometry import Grid
from hilum.core.settings import validate
from hilum.datasets.io.nifti import read_label, write_volume
from hilum.datasets.manifest import read_manifest
from hilum.datasets.store.case_store import CaseStore
from hilum.datasets.store.raters import raters_of

from .conftest import Loop


def grid_of(loop: Loop, case: str = "case_0") -> Grid:
    return read_label(loop.proposals / case / f"{case}.nii.gz").grid


def as_nifti(loop: Loop, mask: np.ndarray) -> None:
    loop.give("case_0.nii.gz", mask)


def as_floats_with_a_scale(loop: Loop, mask: np.ndarray) -> None:
    """Stored as int16 in steps of 1/256, as some viewers save a mask they had as floats."""
    file = loop.give("case_0.nii.gz", mask)
    image = nibabel.Nifti1Image(mask.transpose(2, 1, 0) * 256.0, nibabel.load(file).affine)
    image.set_data_dtype(np.int16)
    image.header.set_slope_inter(1 / 256, 0)
    nibabel.save(image, file)


def as_float(loop: Loop, mask: np.ndarray) -> None:
    loop.give("case_0.nii.gz", mask, dtype=np.float32)


def as_slicer_cut(loop: Loop, mask: np.ndarray) -> None:
    """Cut to the extent of the segments, which are numbered anew."""
    marked = np.argwhere(mask > 0)
    low, high = marked.min(0), marked.max(0) + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    d, h, w = mask[box].shape
    grid = grid_of(loop).crop((int(low[0]), int(low[1]), int(low[2])), (d, h, w))
    write_segmentation(
        loop.back / "case_0.seg.nrrd",
        mask[box].astype(np.uint16) * 4,
        grid,
        [Segment("Segment_9", "completed", number=4, id="x")],
    )


def as_plain_nrrd(loop: Loop, mask: np.ndarray) -> None:
    write_segmentation(
        loop.back / "case_0.nrrd", mask.astype(np.uint16), grid_of(loop), [Segment("a")]
    )


def as_labelmap(loop: Loop, mask: np.ndarray) -> None:
    """A `.nrrd` labelmap that knows no segments: its values are classes."""
    write_segmentation(loop.back / "case_0.nrrd", mask.astype(np.uint16), grid_of(loop), [])


def as_turned_nifti(loop: Loop, mask: np.ndarray) -> None:
    """Saved with axes in another order and direction, in another box."""
    file = loop.give("case_0.nii.gz", mask)
    image = nibabel.load(file)
    nibabel.save(image.as_reoriented([[1, -1], [0, 1], [2, -1]]).slicer[:, 1:, :], file)


def renamed_beside_its_scan(loop: Loop, mask: np.ndarray) -> None:
    folder = loop.back / "for Ben"
    scan = loop.folder / "case_0" / "ct.nii.gz"
    loop.give("for Ben/final v2.nii.gz", mask)
    nibabel.save(nibabel.load(scan), folder / "CT thorax.nii")


def in_a_folder_of_its_name(loop: Loop, mask: np.ndarray) -> None:
    loop.give("case_0/Segmentation.nii.gz", mask)


FORMS: list[Callable[[Loop, np.ndarray], None]] = [
    as_nifti,
    as_floats_with_a_scale,
    as_float,
    as_slicer_cut,
    as_plain_nrrd,
    as_labelmap,
    as_turned_nifti,
    renamed_beside_its_scan,
    in_a_folder_of_its_name,
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_a_corrected_mask_of_any_form_is_the_label_of_its_case(
    form: Callable[[Loop, np.ndarray], None], loop: Loop
) -> None:
    mask = loop.corrected()
    if form is as_turned_nifti:
        mask[..., 0] = mask[..., -1] = mask[:, 0] = mask[:, -1] = 0
    form(loop, mask)
    before = {path: path.stat().st_mtime_ns for path in loop.store.glob("case_[2-5]/*.npy")}
    found = loop.take()
    assert list(found.labels) == ["case_0"]
    assert found.missing == ["case_1"]
    label = loop.label()
    assert label == loop.folder / "labels" / "case_0" / "ana" / "1.nii.gz"
    assert label is not None
    np.testing.assert_array_equal(read_label(label).array, mask)
    case = CaseStore(loop.store)["case_0"]
    assert case.labelled
    assert int((np.asarray(case.label) == 1).sum()) == int((mask == 1).sum())
    assert not CaseStore(loop.store)["case_1"].labelled
    after = {path: path.stat().st_mtime_ns for path in loop.store.glob("case_[2-5]/*.npy")}
    assert after == before


def test_what_is_known_of_a_label_is_kept_with_it(loop: Loop) -> None:
    mask, proposed = loop.corrected(), loop.proposed()
    loop.give("case_0.nii.gz", mask)
    loop.take(settings=None)
    (one,) = versions(loop.folder / "labels")
    about = json.loads((loop.proposals / "case_0" / "proposal.json").read_text())
    assert (one.case, one.rater, one.number, one.matched) == ("case_0", "ana", 1, "its name")
    assert one.proposal["mask"] == about["mask"]
    assert one.proposal["identity"] == about["by"]["identity"]
    assert one.changes["added"] == 1
    assert one.changes["redrawn"] == 1
    assert one.changes["removed"] == 0
    both = int(((mask > 0) & (proposed > 0)).sum())
    want = 2 * both / (int((mask > 0).sum()) + int((proposed > 0).sum()))
    assert one.changes["dice"] == pytest.approx(want)
    assert one.changes["after_ml"] == pytest.approx(int((mask > 0).sum()) * 0.064)


def test_versions_and_raters_are_kept_apart(loop: Loop) -> None:
    first, second = loop.corrected(), loop.corrected()
    second[1:3, 1:3, 1:3] = 0
    loop.give("case_0.nii.gz", first)
    loop.take()
    assert list(loop.take(rater="ben").apart) == ["case_0"]
    label = loop.label()
    assert label is not None
    assert label.parent.name == "ana"
    loop.give("case_0.nii.gz", second)
    assert list(loop.take().labels) == ["case_0"]
    assert list(loop.take(rater="ben", use=True).labels) == ["case_0"]
    kept = {(v.rater, v.number) for v in versions(loop.folder / "labels")}
    assert kept == {("ana", 1), ("ana", 2), ("ben", 1), ("ben", 2)}
    folder = loop.folder / "labels" / "case_0"
    np.testing.assert_array_equal(read_label(folder / "ana" / "1.nii.gz").array, first)
    np.testing.assert_array_equal(read_label(folder / "ana" / "2.nii.gz").array, second)
    assert loop.label() == folder / "ben" / "2.nii.gz"


def test_raters_together_are_made_one_by_preparing(loop: Loop) -> None:
    together = validate(TakeSettings, {"raters": "together"})
    masks = {"ana": loop.corrected(), "Ben": loop.corrected(), "carl": loop.corrected()}
    masks["Ben"][1:3, 1:3, 1:3] = 0
    for rater, mask in masks.items():
        loop.give("case_0.nii.gz", mask)
        assert list(loop.take(rater=rater, settings=together).labels) == ["case_0"]
    case = {one.id: one for one in read_manifest(loop.manifest)}["case_0"]
    folder = loop.folder / "labels" / "case_0"
    assert case.label is None
    assert case.raters == {name.lower(): folder / name / "1.nii.gz" for name in masks}
    stored = CaseStore(loop.store)["case_0"]
    assert list(raters_of(stored)) == ["ana", "ben", "carl"]
    # Two of three drew the node at the corner.
    assert np.asarray(stored.label).sum() == np.asarray(raters_of(stored)["ana"]).sum()
    # One of them draws again: his column changes, the others' stay.
    loop.give("case_0.nii.gz", masks["ana"])
    loop.take(rater="Ben")
    case = {one.id: one for one in read_manifest(loop.manifest)}["case_0"]
    assert case.raters["ben"] == folder / "Ben" / "2.nii.gz"
    assert case.raters["ana"] == folder / "ana" / "1.nii.gz"
    # Who has no column stays apart unless asked for.
    assert list(loop.take(rater="dora").apart) == ["case_0"]


@pytest.mark.parametrize("form", ["nifti", "slicer", "in place"])
def test_a_proposal_that_nobody_edited_is_no_label_until_confirmed(form: str, loop: Loop) -> None:
    folder = loop.back
    if form == "nifti":
        loop.give("case_0.nii.gz", loop.proposed())
    elif form == "slicer":
        shutil.copy(loop.proposals / "case_0" / "case_0.seg.nrrd", folder)
    else:
        folder = loop.proposals
    found = loop.take(folder)
    assert "case_0" in found.unedited
    assert not found.labels
    assert loop.label() is None
    assert "case_0" in loop.take(folder, confirm=["case_0"]).labels


def test_what_was_edited_in_place_is_told_from_what_was_not(loop: Loop) -> None:
    """The labeller saves the segmentation over; NIfTI and the other case stay as proposed."""
    file = loop.proposals / "case_0" / "case_0.seg.nrrd"
    found = read_segmentation(file)
    mask = (found.layers[0] > 0).astype(np.uint16)
    mask[1:3, 1:3, 1:3] = 2
    both = [Segment("1 node", id="hilum_1"), Segment("Segment_1", number=2)]
    write_segmentation(file, mask, found.grid, both)
    taken = loop.take(loop.proposals)
    assert list(taken.labels) == ["case_0"]
    assert taken.unedited == ["case_1"]
    assert taken.labels["case_0"].changes["added"] == 1


def test_a_segment_that_is_not_finished_is_unknown_and_the_rest_with_it(loop: Loop) -> None:
    grid, mask = grid_of(loop), np.zeros(grid_of(loop).shape, np.uint16)
    proposed = loop.proposed() > 0
    mask[proposed] = 1
    mask[1:3, 1:3, 1:3] = 2
    rows = [Segment("1 node", "completed"), Segment("2 node", "inprogress", number=2)]
    write_segmentation(loop.back / "case_0.seg.nrrd", mask, grid, rows)
    found = loop.take()
    label = loop.label()
    assert label is not None
    array = read_label(label).array
    assert (array[proposed] == 1).all()
    assert (array[1:3, 1:3, 1:3] == 255).all()
    assert found.labels["case_0"].statuses == {"1 node": "completed", "2 node": "inprogress"}
    ct = nibabel.load(loop.folder / "case_0" / "ct.nii.gz").get_fdata().transpose(2, 1, 0)
    outside = ~proposed & (mask == 0)
    np.testing.assert_array_equal(array[outside & (ct < -300)], 0)
    np.testing.assert_array_equal(array[outside & (ct >= -300)], 255)
    assert found.labels["case_0"].unknown_ml == pytest.approx(int((array == 255).sum()) * 0.064)
    stored = np.asarray(CaseStore(loop.store)["case_0"].label)
    assert set(np.unique(stored)) == {0, 1, 255}


def test_a_part_that_was_cut_away_is_known_to_be_background(loop: Loop) -> None:
    from hilum.annotate.taking.settings import TakeSettings
    from hilum.core.settings import validate

    mask, proposed = loop.corrected(), loop.proposed()
    loop.give("case_0.nii.gz", mask)
    loop.take(settings=validate(TakeSettings, {"rest": "unknown"}))
    label = loop.label()
    assert label is not None
    array = read_label(label).array
    assert (array[(proposed > 0) & (mask == 0)] == 0).all()
    assert (array == 255).any()


def empty(loop: Loop) -> None:
    loop.give("case_0.nii.gz", np.zeros_like(loop.proposed()))


def empty_voxel(loop: Loop) -> None:
    grid = Grid.from_spacing((1, 1, 1), (1, 1, 1))
    write_segmentation(
        loop.back / "case_0.seg.nrrd", np.zeros((1, 1, 1), np.uint16), grid, [Segment("a")]
    )


@pytest.mark.parametrize("form", [empty, empty_voxel])
def test_an_empty_mask_is_taken_when_it_is_confirmed(
    form: Callable[[Loop], None], loop: Loop
) -> None:
    form(loop)
    assert loop.take().empty == ["case_0"]
    assert loop.label() is None
    assert "case_0" in loop.take(confirm=["case_0"]).labels
    assert not np.asarray(CaseStore(loop.store)["case_0"].label).any()


def another_patient(loop: Loop) -> None:
    grid = grid_of(loop)
    affine = grid.affine.copy()
    affine[:3, 3] += 900
    write_volume(loop.back / "case_0.nii.gz", loop.corrected(), Grid(grid.shape, affine))


def another_grid(loop: Loop) -> None:
    grid = grid_of(loop).with_spacing((3, 3, 3))
    write_volume(loop.back / "case_0.nii.gz", np.ones(grid.shape, np.uint8), grid)


def new_values(loop: Loop) -> None:
    loop.give("case_0.nii.gz", loop.corrected() * 7)


def drawn_as_255(loop: Loop) -> None:
    loop.give("case_0.nii.gz", loop.corrected() * 255)


def halves(loop: Loop) -> None:
    loop.give("case_0.nii.gz", loop.corrected() * 0.5, dtype=np.float32)


def twice(loop: Loop) -> None:
    loop.give("case_0.nii.gz", loop.corrected())
    loop.give("again/case_0.nii.gz", loop.corrected())


def nobodys(loop: Loop) -> None:
    loop.give("final.nii.gz", loop.corrected())


def damaged(loop: Loop) -> None:
    (loop.back / "case_0.nii.gz").write_bytes(b"not a file")


def other_series(loop: Loop) -> None:
    (loop.back / "case_0.dcm").write_bytes(b"not a file")


BAD: dict[Callable[[Loop], None], str] = {
    another_patient: "another patient",
    another_grid: "must lie on the grid of the scan that case_0 was proposed on",
    new_values: "say what they mean: --value 7=1",
    drawn_as_255: "255 alone; say what they mean: --value 255=1",
    halves: r"0\.5 and the like.*--value VALUE=CLASS",
    twice: "a rater must give a case once",
    nobodys: "it fits the scans of case_0, case_1",
    damaged: "case_0.nii.gz",
    other_series: "must be a DICOM SEG",
}


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_what_cannot_be_a_label_is_refused_and_nothing_taken(
    make: Callable[[Loop], None], loop: Loop
) -> None:
    make(loop)
    loop.give("case_1.nii.gz", loop.corrected("case_1"), "case_1")
    before = loop.manifest.read_bytes()
    with pytest.raises(UserError, match=BAD[make]):
        loop.take()
    assert loop.manifest.read_bytes() == before
    assert not (loop.folder / "labels").exists()
    assert not CaseStore(loop.store)["case_1"].labelled


def test_values_mean_what_the_labeller_says(loop: Loop) -> None:
    mask = loop.corrected()
    loop.give("case_0.nii.gz", mask * 7)
    loop.take(values={7: 1})
    label = loop.label()
    assert label is not None
    np.testing.assert_array_equal(read_label(label).array, mask)


def test_a_store_of_another_cohort_is_refused_before_anything_is_taken(loop: Loop) -> None:
    loop.give("case_0.nii.gz", loop.corrected())
    rows = loop.manifest.read_text().splitlines()
    loop.manifest.write_text("\n".join(rows[:-1]) + "\n")
    with pytest.raises(UserError, match="case_5 in one of them alone"):
        loop.take()
    assert not (loop.folder / "labels").exists()


def test_a_case_that_tests_gets_no_label_from_a_proposal(loop: Loop) -> None:
    loop.give("case_0.nii.gz", loop.corrected())
    text = loop.manifest.read_text()
    line = next(row for row in text.splitlines() if row.startswith("case_0,"))
    loop.manifest.write_text(text.replace(line, line.replace("train", "test")))
    with pytest.raises(UserError, match="must not be labelled by correcting proposals"):
        loop.take(store=None)


def test_runs_that_depended_on_the_labels_of_before_are_named(loop: Loop, tmp_path: Path) -> None:
    splits: dict[str, dict[str, Any]] = {
        "a/one": {"train": ["case_0", "case_2"], "validation": [], "test": ["case_4"]},
        "a/two": {"train": ["case_2"], "validation": [], "test": ["case_4"], "pool": ["case_0"]},
        "a/three": {"train": ["case_2"], "validation": ["case_0"], "test": []},
    }
    for name, split in splits.items():
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "split.json").write_text(json.dumps(split))
    (tmp_path / "a/three/status.json").write_text('{"state": "running"}')
    loop.give("case_0.nii.gz", loop.corrected())
    said: list[str] = []
    found = loop.take(runs=[tmp_path / "a"], say=said.append)
    assert {one.folder.name: one.running for one in found.stale} == {"one": False, "three": True}
    assert any("was chosen by case_0" in line and "stop it" in line for line in said)


def test_a_label_that_cannot_be_prepared_leaves_all_as_it_was(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hilum.datasets.prepare.run as run

    real = run.prepare_case

    def fails(case: Any, settings: Any) -> Any:
        if case.id == "case_0" and case.label is not None:
            raise UserError("planted", case=case.id)
        return real(case, settings)

    monkeypatch.setattr(run, "prepare_case", fails)
    loop.give("case_0.nii.gz", loop.corrected())
    before = [replace(case) for case in read_manifest(loop.manifest)]
    with pytest.raises(UserError, match="planted"):
        loop.take()
    assert read_manifest(loop.manifest) == before
    assert not CaseStore(loop.store)["case_0"].labelled


def test_the_command_takes_and_says_what_changed(loop: Loop) -> None:
    loop.give("case_0.nii.gz", loop.corrected() * 3)
    words = ["annotate", "take", str(loop.back), str(loop.manifest), "--store", str(loop.store)]
    words += ["--proposals", str(loop.proposals), "--rater", "ana", "--value", "3=1", "round=2"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "case_0: version 1 of ana is the label; 1 added, 0 removed, 1 redrawn" in done.output
    assert "nothing came back of 1 proposed cases: case_1" in done.output
    (one,) = versions(loop.folder / "labels")
    assert one.round == 2
    bad = CliRunner().invoke(app, [*words[:-5], "--rater", "../x"])
    assert "a rater must have a name" in str(bad.exception)
