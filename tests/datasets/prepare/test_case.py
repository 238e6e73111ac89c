"""A raw case lands on one grid with its units kept, and a mask finds its way back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.geometry import Grid, IntTriple, Triple
from hilum.datasets.io.nifti import read_volume, write_volume
from hilum.datasets.prepare.case import (
    PrepareSettings,
    prepare_case,
    restore,
    restore_probability,
)
from hilum.datasets.store.foreground import nodes_of

SHAPE: IntTriple = (16, 30, 34)


def oriented(shape: IntTriple, spacing: Triple) -> Grid:
    """Return a grid as scanners write it: right to left, front to back, and a far origin."""
    grid = Grid.from_spacing(shape, spacing, (40, 60, -300))
    affine = grid.affine.copy()
    affine[:3, 1:3] *= -1
    return Grid(shape, affine)


CT = oriented(SHAPE, (3, 2, 2))
PET = oriented((13, 16, 18), (4, 4, 4))


def volumes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return CT, PET and label of a body with one hot node, each drawn in the world."""
    centre = CT.to_world((8, 15, 17))

    def distance(grid: Grid, at: np.ndarray, radii: Triple) -> np.ndarray:
        index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)
        return np.sqrt((((grid.to_world(index) - at) / radii) ** 2).sum(-1))

    node = centre + np.array([8, -5, 3])
    ct = np.where(distance(CT, centre, (26, 22, 400)) < 1, 40, -1000).astype(np.float32)
    pet = np.where(distance(PET, centre, (26, 22, 400)) < 1, 1, 0).astype(np.float32)
    pet[distance(PET, node, (7, 7, 7)) < 1] = 9
    return ct, pet, (distance(CT, node, (7, 7, 7)) < 1).astype(np.uint8)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    ct, pet, label = volumes()
    files = {name: tmp_path / f"{name}.nii.gz" for name in ("ct", "pet", "label")}
    write_volume(files["ct"], ct, CT)
    write_volume(files["pet"], pet, PET)
    write_volume(files["label"], label, CT)
    return Case("a", "p", {"pet": files["pet"], "ct": files["ct"]}, files["label"])


def with_file(case: Case, name: str, array: np.ndarray, grid: Grid) -> Case:
    """Write another volume or label into the case."""
    path = next(iter(case.volumes.values())).parent / f"new_{name}.nii.gz"
    write_volume(path, array, grid)
    if name == "label":
        return Case(case.id, case.patient, case.volumes, path)
    return Case(case.id, case.patient, {**case.volumes, name: path}, case.label)


def test_everything_is_canonical_on_the_grid_of_the_ct(case: Case) -> None:
    prepared = prepare_case(case, PrepareSettings())
    assert prepared.modalities == ("pet", "ct")
    assert prepared.source_grid.same_as(CT)
    assert prepared.grid.spacing == pytest.approx((3, 2, 2))
    direction = prepared.grid.affine[:3, :3] / prepared.grid.spacing
    assert_allclose(direction, np.fliplr(np.eye(3)), atol=1e-6)
    assert prepared.images.dtype == np.float16


def test_uptake_and_label_coincide_in_the_patient(case: Case) -> None:
    prepared = prepare_case(case, PrepareSettings(spacing=(2, 2, 2)))
    assert prepared.label is not None
    hot = prepared.images[0] > 5
    shift = prepared.grid.to_world(np.argwhere(hot).mean(0)) - prepared.grid.to_world(
        np.argwhere(prepared.label).mean(0)
    )
    assert np.abs(shift).max() < 1.5
    assert prepared.label.sum() * 0.008 == pytest.approx(volumes()[2].sum() * 0.012, rel=0.1)


def test_regions_say_where_the_body_and_each_field_of_view_are(case: Case) -> None:
    short = Grid((6, 16, 18), PET.affine)
    case = with_file(case, "pet", volumes()[1][:6], short)
    prepared = prepare_case(case, PrepareSettings())
    body, pet, ct = (prepared.regions >> bit & 1 for bit in range(3))
    assert ct.all()
    assert 0 < pet.mean() < 0.7
    assert (prepared.images[0][pet == 0] == 0).all()
    tissue = prepared.images[1] > -400
    # The mask is found at 6 mm, so only the rim of this 5 cm body may differ.
    assert 2 * (tissue & (body > 0)).sum() / (tissue.sum() + body.sum()) > 0.9


@pytest.mark.parametrize("margin", [0.0, 6.0])
def test_the_crop_keeps_body_margin_and_every_labelled_voxel(case: Case, margin: float) -> None:
    label = volumes()[2]
    label[0, 0, 0] = label[-1, -1, -1] = 2  # far out in the air
    prepared = prepare_case(with_file(case, "label", label, CT), PrepareSettings(margin_mm=margin))
    assert prepared.label is not None
    assert_array_equal(
        np.bincount(prepared.label.ravel()),
        [prepared.label.size - label.astype(bool).sum(), (label == 1).sum(), 2],
    )
    plain = prepare_case(case, PrepareSettings(margin_mm=margin))
    body = np.argwhere(plain.regions & 1)
    assert (body.min(0)[1:] * plain.grid.spacing[1:] >= margin).all()
    assert plain.grid.shape[1] < SHAPE[1]


@pytest.mark.parametrize("spacing", [(1.0, 0.5, 0.5), (2.0, 1.5, 1.25), (5.0, 3.0, 7.0)])
@pytest.mark.parametrize("corner", [(3, 2, 2), (12, 27, 31)], ids=["first", "last"])
def test_the_crop_keeps_a_labelled_voxel_from_face_to_face(
    case: Case, spacing: Triple, corner: IntTriple
) -> None:
    """A voxel out in the air is as large in the crop as without one, whatever the spacing."""
    label = volumes()[2]
    label[corner] = 1
    kept = {}
    for crop in (True, False):
        settings = PrepareSettings(spacing=spacing, margin_mm=0, body_crop=crop)
        prepared = prepare_case(with_file(case, "label", label, CT), settings)
        assert prepared.label is not None
        kept[crop] = prepared.grid.to_world(np.argwhere(prepared.label).astype(float))
        # A mask comes back to the grid of the CT by the nearest voxel.
        if max(spacing) < 2:
            assert restore(prepared.label, prepared)[corner] == 1
    assert_allclose(kept[True], kept[False], atol=1e-4)
    assert len(kept[True])


def test_a_mask_lands_on_the_original_voxels(case: Case) -> None:
    prepared = prepare_case(case, PrepareSettings())
    assert prepared.label is not None
    assert_array_equal(restore(prepared.label, prepared), volumes()[2])


def test_masks_and_probabilities_come_back_from_another_spacing(case: Case) -> None:
    prepared = prepare_case(case, PrepareSettings(spacing=(2, 1.5, 1.5)))
    assert prepared.label is not None
    original = volumes()[2] > 0
    soft = restore_probability(prepared.label.astype(np.float32), prepared)
    for back in (restore(prepared.label, prepared) > 0, soft > 0.5):
        assert back.shape == SHAPE
        assert 2 * (back & original).sum() / (back.sum() + original.sum()) > 0.95


def test_the_modality_that_was_labelled_becomes_the_reference(case: Case) -> None:
    prepared = prepare_case(
        with_file(case, "label", (volumes()[1] > 5).astype(np.uint8), PET), PrepareSettings()
    )
    assert prepared.source_grid.same_as(PET)
    without = Case(case.id, case.patient, case.volumes)
    assert prepare_case(without, PrepareSettings()).source_grid.same_as(CT)
    asked = prepare_case(without, PrepareSettings(reference="pet"))
    assert asked.source_grid.same_as(PET)


def test_units_are_kept_and_arbitrary_ones_divided_by_a_known_factor(case: Case) -> None:
    ct, _, _ = volumes()
    ct[8, 15, 17] = 5000
    case = with_file(case, "ct", ct, CT)
    mr = np.where(ct > 0, np.float32(700), np.float32(3))
    prepared = prepare_case(with_file(case, "mr_t1", mr, CT), PrepareSettings())
    assert prepared.modalities == ("pet", "ct", "mr_t1")
    assert (prepared.factors["ct"], prepared.factors["pet"]) == (1, 1)
    assert prepared.factors["mr_t1"] == pytest.approx(700)
    assert prepared.images[2].max() == pytest.approx(1, abs=1e-3)
    assert prepared.images[1].max() == 3071
    assert prepared.images[1].min() == -1000


def test_float16_keeps_suv_to_half_a_thousandth(case: Case) -> None:
    suv = np.random.default_rng(0).uniform(0.5, 60, SHAPE).astype(np.float32)
    prepared = prepare_case(with_file(case, "pet", suv, CT), PrepareSettings(body_crop=False))
    canonical = suv[:, ::-1, ::-1]
    assert_allclose(prepared.images[0].astype(np.float32), canonical, rtol=5e-4)


def test_nodes_are_counted_measured_and_drawn_from_the_same_way_twice() -> None:
    grid = Grid.from_spacing((20, 22, 24), (1, 2, 1))
    label = np.zeros(grid.shape, np.uint8)
    label[2:14, 3:15, 4:16] = 1
    label[14, 15, 16] = 1  # touches by a corner
    label[18, 20, 20:23] = 1
    label[18, 20, 23] = 2
    label[0] = 255
    rows, drawn = nodes_of(label, grid, "a")
    expected = [
        ndimage.label(label == value, np.ones((3, 3, 3)))[1]  # type: ignore[index]
        for value in (1, 2)
    ]
    assert expected == [2, 1]
    assert [(row["class"], row["voxels"]) for row in rows] == [(1, 1729), (1, 3), (2, 1)]
    assert rows[0]["volume_ml"] == pytest.approx(3.458)
    assert rows[1]["box"] == [[18, 20, 20], [19, 21, 23]]
    assert_array_equal(np.bincount(drawn.node), [1000, 3, 1])
    assert len(np.unique(drawn.points, axis=0)) == 1004
    assert_array_equal(label[tuple(drawn.points.T)], drawn.label)
    assert_array_equal(nodes_of(label, grid, "a")[1].points, drawn.points)
    assert not np.array_equal(nodes_of(label, grid, "b")[1].points, drawn.points)


def moved(grid: Grid, mm: float) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] += mm
    return Grid(grid.shape, affine)


@pytest.mark.parametrize(
    ("name", "array", "grid", "message"),
    [
        ("pet", volumes()[1] * 9000, PET, r"new_pet.*SUV.*; this looks like Bq/ml"),
        ("pet", volumes()[1] * 0, PET, r"new_pet.*found 0 to 0; "),
        ("pet", volumes()[1], moved(PET, 500), r"new_pet.*overlap.*found 0%; "),
        ("label", volumes()[2], moved(CT, 7), r"new_label.*grid of one of the modalities.*; "),
        ("label", volumes()[2] * 77, CT, r"new_label.*label values.*found 77; "),
    ],
    ids=["Bq/ml", "empty", "elsewhere", "label moved", "label value"],
)
def test_bad_input_names_case_file_and_remedy(
    case: Case, name: str, array: np.ndarray, grid: Grid, message: str
) -> None:
    with pytest.raises(DataError, match=r"^case a: .*" + message):
        prepare_case(with_file(case, name, array, grid), PrepareSettings())


def test_a_case_without_what_is_asked_for_says_so(case: Case) -> None:
    with pytest.raises(DataError, match=r"wanted modality.*found pet, ct"):
        prepare_case(case, PrepareSettings(modalities=("mr",)))


def test_a_node_that_vanishes_at_the_spacing_and_partial_labels_are_noted(
    tmp_path: Path,
) -> None:
    grid = Grid.from_spacing((12, 24, 24), (1, 1, 1))
    ct = np.full(grid.shape, 40, np.float32)
    ct[:, :2] = -1000
    label = np.zeros(grid.shape, np.uint8)
    label[3:9, 10:16, 10:16] = 1
    label[2, 20, 20] = 1  # one voxel, between those of the coarse grid
    for name, array in (("ct", ct), ("label", label)):
        write_volume(tmp_path / f"{name}.nii", array, grid)
    files = {"ct": tmp_path / "ct.nii"}
    case = Case("a", "a", files, tmp_path / "label.nii", partial=True)
    fine = prepare_case(case, PrepareSettings.model_validate({}))
    assert fine.partial
    assert fine.notes == ()
    coarse = prepare_case(case, PrepareSettings.model_validate({"spacing": (3, 3, 3)}))
    assert any("had 2 components and has 1" in note.text for note in coarse.notes)


@pytest.mark.parametrize("shape", [(1, 60, 70), (14, 60, 70)])
def test_an_ultrasound_volume_alone_is_a_case(tmp_path: Path, shape: IntTriple) -> None:
    draw = np.random.default_rng(0)
    _, height, width = np.indices(shape)
    sector = (height > 3) & (np.abs(width - 35) < 5 + 0.45 * height)
    array = np.where(sector, draw.rayleigh(40, shape), 0).clip(0, 255)
    grid = Grid.from_spacing(shape, (1.0, 0.6, 0.6))
    write_volume(tmp_path / "us.nii.gz", array.round(), grid, np.uint8)
    prepared = prepare_case(Case("u", "u", {"us": tmp_path / "us.nii.gz"}), PrepareSettings())
    body = (prepared.regions & 1).astype(bool)
    assert prepared.images.shape[1] == shape[0]
    assert 0.8 < body.sum() / sector.sum() < 1.6
    # Divided by the 99th percentile of what is in the sector: Rayleigh's is 3.03 sigma.
    assert prepared.factors["us"] == pytest.approx(40 * 3.03, rel=0.1)
    assert float(np.percentile(prepared.images[0][body], 99)) == pytest.approx(1, abs=0.1)


def test_a_map_of_diffusion_keeps_its_scale(case: Case, tmp_path: Path) -> None:
    ct = read_volume(case.volumes["ct"])
    write_volume(tmp_path / "adc.nii.gz", np.where(ct.array > -500, 1100, 0), CT, np.int16)
    adc = Case("a", "a", {"mr_adc": tmp_path / "adc.nii.gz"})
    prepared = prepare_case(adc, PrepareSettings())
    assert prepared.factors == {"mr_adc": 1.0}
    assert float(prepared.images.max()) == 1100
