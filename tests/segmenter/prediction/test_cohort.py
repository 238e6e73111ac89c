"""Raw scans become masks on their own grid, whatever its orientation and whatever is missing."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from hilum.core.case import Case
from hilum.core.errors import DataError, SettingsError
from hilum.core.files import read_json
from hilum.core.geometry import Grid, IntTriple, Triple
from hilum.datasets.io.nifti import read_label, read_volume, write_volume
from hilum.datasets.manifest import write_manifest
from hilum.datasets.prepare.case import PrepareSettings, prepare_case
from hilum.segmenter.prediction.cohort import predict
from hilum.segmenter.prediction.original_grid import mask_on_source
from hilum.segmenter.segmenter import Segmenter

CENTRE = np.array([30.0, -40.0, 900.0])
NODE = CENTRE + np.array([10, -7, 13])
RADIUS = 11.0


def grid_of(shape: IntTriple, spacing: Triple, degrees: float, order: IntTriple) -> Grid:
    """Return a grid around CENTRE, turned about the vertical, with swapped and flipped axes.

    `order` names for each array axis the world axis, 1 to 3, negative if it runs backwards.
    """
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    affine = np.eye(4)
    for axis, (world, step) in enumerate(zip(order, spacing, strict=True)):
        affine[:3, axis] = np.sign(world) * turn[:, abs(world) - 1] * step
    affine[:3, 3] = CENTRE - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def distance(grid: Grid, place: np.ndarray) -> np.ndarray:
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)
    return np.linalg.norm(grid.to_world(index) - place, axis=-1)


def write_case(folder: Path, name: str, ct: Grid, pet: Grid) -> Case:
    files = {}
    for key, grid in (("ct", ct), ("pet", pet)):
        body, node = distance(grid, CENTRE) < 45, distance(grid, NODE) < RADIUS
        values = np.where(body, 20 + 60 * node, -1000) if key == "ct" else body * (1.0 + 7 * node)
        file = folder / name / f"{key}.nii.gz"
        files[key] = write_volume(file, values.astype(np.float32), grid)
    return Case(name, name, files)


PET = grid_of((28, 26, 30), (4, 4, 4), 0, (3, 2, 1))
GRIDS = {
    "axial, flipped like a scanner's": grid_of((30, 50, 46), (3, 2, 2.2), 0, (3, -2, -1)),
    "oblique by 17 degrees": grid_of((30, 50, 46), (3, 2, 2.2), 17, (3, 2, -1)),
    "sagittal": grid_of((46, 30, 50), (2.2, 3, 2), 0, (-1, 3, 2)),
}


@pytest.mark.parametrize("name", GRIDS)
def test_the_mask_lies_on_the_original_grid_at_the_right_place(
    name: str, threshold: Segmenter, tmp_path: Path
) -> None:
    grid = GRIDS[name]
    case = write_case(tmp_path, "é case", grid, PET)
    manifest = write_manifest(tmp_path / "manifest.csv", [case])
    summary = predict(threshold, manifest, tmp_path / "out", precision="32")
    mask = read_label(tmp_path / "out" / "é case.nii.gz")
    assert mask.grid.same_as(grid)
    truth = distance(grid, NODE) < RADIUS
    both = (mask.array > 0) & truth
    assert 2 * both.sum() / ((mask.array > 0).sum() + truth.sum()) > 0.88
    assert_allclose(grid.to_world(np.argwhere(mask.array > 0)).mean(0), NODE, atol=0.5)
    (row,) = read_json(tmp_path / "out" / "é case_nodes.json")
    assert_allclose(row["centroid_mm"], NODE, atol=0.5)
    assert row["suv_max"] == pytest.approx(8, abs=0.2)
    assert 2 * RADIUS - 4.5 < row["short_axis_mm"] < 2 * RADIUS + 5
    about = read_json(summary)["cases"]["é case"]
    assert about["modalities"] == ["ct", "pet"]
    assert about["nodes"] == 1
    assert about["volume_ml"] == pytest.approx(row["volume_ml"])
    assert set(about["seconds"]) == {"read", "predict", "write"}
    assert (tmp_path / "out" / "é case.png").stat().st_size > 1000
    assert '<tr id="node-1">' in (tmp_path / "out" / "é case.html").read_text()
    with (tmp_path / "out" / "é case_nodes.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 1


def test_a_case_without_pet_or_without_ct_is_predicted_from_the_other(
    threshold: Segmenter, tmp_path: Path
) -> None:
    grid = GRIDS["oblique by 17 degrees"]
    files = write_case(tmp_path, "p1", grid, PET).volumes
    for only, own in (("ct", grid), ("pet", PET)):
        out = tmp_path / only
        predict(threshold, {only: files[only]}, out, precision="32", pictures=False)
        mask = read_label(out / "p1.nii.gz")
        assert mask.grid.same_as(own)
        assert_allclose(own.to_world(np.argwhere(mask.array > 0)).mean(0), NODE, atol=0.7)
        assert not (out / "p1.png").exists()


def test_a_modality_left_unused_still_gives_the_grid(threshold: Segmenter, tmp_path: Path) -> None:
    case = write_case(tmp_path, "p1", GRIDS["sagittal"], PET)
    predict(threshold, case.volumes, tmp_path / "out", modalities=["pet"], pictures=False)
    assert read_label(tmp_path / "out" / "p1.nii.gz").grid.same_as(GRIDS["sagittal"])
    assert read_json(tmp_path / "out" / "summary.json")["cases"]["p1"]["modalities"] == ["pet"]


def test_finished_cases_are_skipped_until_their_files_change(
    threshold: Segmenter, tmp_path: Path
) -> None:
    cases = [write_case(tmp_path, name, GRIDS["sagittal"], PET) for name in ("a", "b")]
    manifest, out = write_manifest(tmp_path / "m.csv", cases), tmp_path / "out"
    told: list[tuple[int, int, str]] = []
    predict(threshold, manifest, out, pictures=False, progress=lambda *row: told.append(row))
    assert told[-2:] == [(1, 2, "a"), (2, 2, "b")]  # after the headers of both, read before
    before = {name: (out / f"{name}.nii.gz").stat().st_mtime_ns for name in ("a", "b")}
    pet = read_volume(cases[0].volumes["pet"])
    write_volume(cases[0].volumes["pet"], pet.array * 0.99, pet.grid)
    predict(threshold, manifest, out, pictures=False)
    after = {name: (out / f"{name}.nii.gz").stat().st_mtime_ns for name in ("a", "b")}
    assert after["a"] > before["a"]
    assert after["b"] == before["b"]


def test_a_bad_case_does_not_stop_the_others(threshold: Segmenter, tmp_path: Path) -> None:
    cases = [write_case(tmp_path, name, GRIDS["sagittal"], PET) for name in ("a", "b")]
    cases[0].volumes["pet"].write_bytes(b"no scan")
    manifest = write_manifest(tmp_path / "m.csv", cases)
    with pytest.raises(DataError, match=r"(?s)1 of 2 are predicted.*case a.*readable NIfTI"):
        predict(threshold, manifest, tmp_path / "out", pictures=False)
    assert not (tmp_path / "out" / "a.nii.gz").exists()
    assert (tmp_path / "out" / "b.nii.gz").exists()
    assert list(read_json(tmp_path / "out" / "summary.json")["failed"]) == ["a"]


def test_the_most_probable_class_wins_and_the_background_is_outside(tmp_path: Path) -> None:
    case = write_case(tmp_path, "p1", GRIDS["axial, flipped like a scanner's"], PET)
    prepared = prepare_case(case, PrepareSettings.model_validate({}))
    probability = np.zeros((3, *prepared.grid.shape), np.float32)
    probability[0] = 0.4
    probability[1] = 0.25
    probability[2] = 0.35
    probability[:, :, : prepared.grid.shape[1] // 2] = np.array([0.2, 0.1, 0.7])[
        :, None, None, None
    ]
    mask = mask_on_source(probability[1:], prepared)
    inside = distance(prepared.source_grid, CENTRE) < 20
    anterior = prepared.source_grid.to_world(np.argwhere(inside))[:, 1]
    expected = np.where(anterior < CENTRE[1], 2, 0)
    agree = mask[inside] == expected
    assert agree[np.abs(anterior - CENTRE[1]) > 3].all()
    assert mask[0, 0, 0] == 0


def test_a_saved_segmenter_predicts_as_the_one_in_memory(config, tmp_path: Path) -> None:
    case = write_case(tmp_path, "p1", GRIDS["sagittal"], PET)
    torch.manual_seed(0)
    segmenter = Segmenter(config(prior=0.49))
    folder = segmenter.save(tmp_path / "segmenter")
    for model, out in ((segmenter, tmp_path / "x"), (folder, tmp_path / "y")):
        predict(model, case.volumes, out, precision="32", pictures=False)
    x, y = (read_label(tmp_path / o / "p1.nii.gz").array for o in "xy")
    assert x.any()
    assert_array_equal(x, y)


def test_wrong_inputs_are_clear_errors(threshold: Segmenter, tmp_path: Path) -> None:
    case = write_case(tmp_path, "p1", GRIDS["sagittal"], PET)
    out = tmp_path / "out"
    with pytest.raises(SettingsError, match=r"must know 'mr'.*trained on ct, pet"):
        predict(threshold, {"mr": case.volumes["ct"]}, out)
    with pytest.raises(SettingsError, match="unknown modality 'kt'"):
        predict(threshold, {"kt": case.volumes["ct"]}, out)
    with pytest.raises(SettingsError, match="must know 'pat', did you mean 'pet'"):
        predict(threshold, case.volumes, out, modalities=["pat"])
    with pytest.raises(DataError, match="at least one volume"):
        predict(threshold, {}, out)
    with pytest.raises(DataError, match=r"case p1.*must have one of pet"):
        predict(threshold, {"ct": case.volumes["ct"]}, out, modalities=["pet"])
    with pytest.raises(DataError, match=r"none\.nii\.gz: no such file"):
        predict(threshold, {"ct": tmp_path / "none.nii.gz"}, out)
    assert not list(out.glob("*.nii.gz"))


def test_an_interrupted_call_goes_on_where_it_was(threshold: Segmenter, tmp_path: Path) -> None:
    cases = [write_case(tmp_path, name, GRIDS["sagittal"], PET) for name in ("a", "b", "c")]
    manifest, out = write_manifest(tmp_path / "m.csv", cases), tmp_path / "out"

    def stop(done: int, total: int, name: str) -> None:
        if done == 2 and (out / "b.nii.gz").exists():  # reading the headers is progress, too
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(threshold, manifest, out, pictures=False, progress=stop)
    before = {name: (out / f"{name}.nii.gz").stat().st_mtime_ns for name in ("a", "b")}
    assert not (out / "c.nii.gz").exists()
    # As if it had been stopped while the files of b were written.
    (out / "b_nodes.csv").unlink()
    predict(threshold, manifest, out, pictures=False)
    assert (out / "a.nii.gz").stat().st_mtime_ns == before["a"]
    assert (out / "b.nii.gz").stat().st_mtime_ns > before["b"]
    assert (out / "c.nii.gz").exists()
    assert not list(out.glob(".part-*"))


def test_uncertainty_lies_on_the_original_grid_and_in_the_node_table(
    config, tmp_path: Path
) -> None:
    case = write_case(tmp_path, "p1", GRIDS["axial, flipped like a scanner's"], PET)
    torch.manual_seed(0)
    segmenter = Segmenter(config(prior=0.49))
    out = tmp_path / "out"
    how = {"precision": "32", "pictures": False, "changes": {"flips": "w"}}
    predict(segmenter, case.volumes, out, uncertainty="variance", **how)
    found, mask = read_volume(out / "p1_uncertainty.nii.gz"), read_label(out / "p1.nii.gz")
    assert found.grid.same_as(mask.grid)
    assert 0 <= found.array.min() < found.array.max() <= 0.25
    rows = read_json(out / "p1_nodes.json")
    inside = mask.array > 0
    volumes = np.array([row["volume_ml"] for row in rows])
    doubts = np.array([row["uncertainty"] for row in rows])
    assert (doubts * volumes).sum() / volumes.sum() == pytest.approx(
        found.array[inside].mean(), abs=1e-3
    )
    assert all(0.3 < row["probability"] <= row["probability_max"] <= 1 for row in rows)
    report = read_json(out / "p1_report.json")
    assert report["nodes"] == rows
    assert report["n_features"]["nodes"] == len(rows)
    assert report["inference"]["flips"] == "w"
    assert report["uncertainty"] == "variance"
    # Without the map it is another prediction, and the same mask.
    predict(segmenter, case.volumes, tmp_path / "plain", **how)
    assert_array_equal(read_label(tmp_path / "plain" / "p1.nii.gz").array, mask.array)


def test_a_mask_of_organs_names_the_place_of_each_node(
    threshold: Segmenter, tmp_path: Path
) -> None:
    grid = GRIDS["axial, flipped like a scanner's"]
    case = write_case(tmp_path, "p1", grid, PET)
    organs = write_volume(tmp_path / "organs.nii.gz", np.full(grid.shape, 4, np.uint8), grid)
    (tmp_path / "organs.json").write_text('{"4": "mediastinum"}')
    predict(threshold, case.volumes, tmp_path / "out", pictures=False)
    assert "station" not in read_json(tmp_path / "out" / "p1_nodes.json")[0]
    files = case.volumes | {"anatomy": organs}
    predict(threshold, files, tmp_path / "out", pictures=False)
    rows = read_json(tmp_path / "out" / "p1_nodes.json")
    assert {row["station"] for row in rows} == {"mediastinum"}
    missing = case.volumes | {"anatomy": tmp_path / "no.nii.gz"}
    with pytest.raises(DataError, match="no such anatomy file"):
        predict(threshold, missing, tmp_path / "out", pictures=False)


def test_the_probability_lies_on_the_original_grid_and_agrees_with_mask_and_table(
    config, tmp_path: Path
) -> None:
    case = write_case(tmp_path, "p1", GRIDS["axial, flipped like a scanner's"], PET)
    torch.manual_seed(0)
    segmenter = Segmenter(config(prior=0.49))
    how = {"precision": "32", "pictures": False}
    predict(segmenter, case.volumes, tmp_path / "out", **how)
    assert not list((tmp_path / "out").glob("*probability*"))
    predict(segmenter, case.volumes, tmp_path / "out", probability=True, **how)
    found = read_volume(tmp_path / "out" / "p1_probability.nii.gz")
    mask = read_label(tmp_path / "out" / "p1.nii.gz")
    assert found.grid.same_as(mask.grid)
    sure = np.abs(found.array - 0.5) > 0.001  # rounded to three decimals
    assert_array_equal((found.array > 0.5)[sure], mask.array[sure])
    rows = read_json(tmp_path / "out" / "p1_nodes.json")
    best = max(row["probability_max"] for row in rows)
    assert found.array.max() == pytest.approx(best, abs=1e-3)


def test_the_mask_is_the_same_however_many_slabs_it_is_made_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = write_case(tmp_path, "p1", GRIDS["oblique by 17 degrees"], PET)
    prepared = prepare_case(case, PrepareSettings.model_validate({"spacing": (4, 4, 4)}))
    foreground = np.random.default_rng(0).random((2, *prepared.grid.shape)).astype(np.float32) / 2
    whole = mask_on_source(foreground, prepared)
    monkeypatch.setattr("hilum.datasets.io.resampling.SLAB", 5000)
    assert_array_equal(mask_on_source(foreground, prepared), whole)
    assert set(np.unique(whole)) == {0, 1, 2}
