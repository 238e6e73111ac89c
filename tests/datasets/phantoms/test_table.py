"""The phantoms' tables say what slow formulas say of the voxels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from hilum.core.geometry import Grid
from hilum.datasets.phantoms.cohort import PhantomCase, PhantomSettings, make_case
from hilum.datasets.phantoms.table import MTV_SHARE, short_axis


@pytest.fixture(scope="module", params=["a", "b"])
def case(request: pytest.FixtureRequest) -> PhantomCase:
    return make_case(PhantomSettings(size="demo", seed=5, scanner=request.param, nodes=20), 1)


@pytest.mark.parametrize("degrees", [0, 25, 45, 70])
@pytest.mark.parametrize("semi", [(9.0, 5.0, 7.0), (6.0, 8.0, 12.0), (12.0, 11.0, 14.5)])
def test_the_short_axis_of_an_ellipsoid_is_known(
    semi: tuple[float, float, float], degrees: float
) -> None:
    grid = Grid.from_spacing((40, 50, 52), (1.5, 1.0, 0.9))
    z, y, x = (
        (axis - (n - 1) / 2) * s
        for axis, n, s in zip(np.indices(grid.shape), grid.shape, grid.spacing, strict=True)
    )
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    u, v = c * x + s * y, -s * x + c * y
    mask = (z / semi[0]) ** 2 + (v / semi[1]) ** 2 + (u / semi[2]) ** 2 < 1
    assert short_axis(mask, grid) == pytest.approx(2 * min(semi[1:]), abs=0.8)


def test_the_short_axis_of_a_voxel_is_its_side() -> None:
    grid = Grid.from_spacing((3, 4, 5), (5.0, 2.0, 2.0))
    mask = np.zeros(grid.shape, bool)
    mask[1, 2, 3] = True
    assert short_axis(mask, grid) == pytest.approx(2.0)


def test_the_short_axis_is_that_of_the_slice_with_the_longest_diameter() -> None:
    grid = Grid.from_spacing((2, 40, 40), (3.0, 0.5, 0.5))
    y, x = (np.indices((40, 40)) - 19.5) / 2
    mask = np.stack([x**2 + y**2 < 36, (x / 9) ** 2 + (y / 2) ** 2 < 1])
    assert short_axis(mask, grid) == pytest.approx(4, abs=0.5)
    assert short_axis(mask[:1], grid) == pytest.approx(12, abs=0.5)


def test_numbers_and_volumes_are_those_of_the_instances(case: PhantomCase) -> None:
    assert [row["id"] for row in case.nodes] == list(range(1, len(case.nodes) + 1))
    assert set(np.unique(case.instances)) == {0, *(row["id"] for row in case.nodes)}
    for row in case.nodes:
        voxels = int((case.instances == row["id"]).sum())
        assert row["volume_ml"] == pytest.approx(voxels * np.prod(case.grid.spacing) / 1000)
        assert row["mtv_ml_truth"] == row["volume_ml"]


def test_the_label_is_the_malignant_instances(case: PhantomCase) -> None:
    malignant = [row["id"] for row in case.nodes if row["malignant"]]
    assert malignant
    assert len(malignant) < len(case.nodes)
    assert np.array_equal(case.label > 0, np.isin(case.instances, malignant))
    assert set(np.unique(case.label)) == {0, 1}


def test_the_centre_is_the_mean_of_the_voxels(case: PhantomCase) -> None:
    centres = ndimage.center_of_mass(
        case.instances > 0, case.instances, [row["id"] for row in case.nodes]
    )
    for row, index in zip(case.nodes, centres, strict=True):
        assert row["centre_mm"] == pytest.approx(case.grid.to_world(index), abs=2e-3)
        vector = case.misregistration.at(np.asarray(row["centre_mm"]))
        assert row["shift_mm"] == pytest.approx(vector, abs=1e-3)


def test_measured_uptake_equals_a_slow_formula(case: PhantomCase) -> None:
    for row in case.nodes[:6]:
        seen = [
            interpolate(case.pet, case.pet_grid.to_index(p + case.misregistration.at(p)))
            for p in case.grid.to_world(np.argwhere(case.instances == row["id"]))
        ]
        hot = [value for value in seen if value >= MTV_SHARE * max(seen)]
        assert row["suv_max_measured"] == pytest.approx(max(seen), rel=1e-4)
        assert row["suv_mean_measured"] == pytest.approx(sum(seen) / len(seen), rel=1e-4)
        mtv = len(hot) * case.grid.voxel_ml
        assert row["mtv_ml_measured"] == pytest.approx(mtv, rel=0.02)
        assert row["tlg_measured"] == pytest.approx(sum(hot) / len(hot) * mtv, rel=0.02)


def test_large_nodes_show_nearly_their_true_uptake_and_small_ones_less(case: PhantomCase) -> None:
    rows = [row for row in case.nodes if row["malignant"]]
    share = {
        row["id"]: row["suv_max_measured"] / row["suv_max_truth"] / (1, 0.85)["_b_" in case.id]
        for row in rows
    }
    large = [share[row["id"]] for row in rows if row["short_axis_mm"] > 15]
    assert np.median(large) == pytest.approx(1.05, abs=0.2)
    small = [share[row["id"]] for row in rows if row["volume_ml"] < 0.3]
    if small:
        assert np.median(small) < 0.85


def test_true_totals_are_means_times_volumes(case: PhantomCase) -> None:
    for row in (*case.nodes, *case.distractors):
        total = row["suv_mean_truth"] * row["mtv_ml_truth"]
        assert row["tlg_truth"] == pytest.approx(total, rel=1e-4)
        assert row["suv_max_truth"] >= row["suv_mean_truth"]


def interpolate(array: np.ndarray, index: np.ndarray) -> float:
    """Interpolate linearly between eight voxels, as one writes it by hand."""
    low = np.floor(index).astype(int)
    total = 0.0
    for corner in np.ndindex(2, 2, 2):
        place = low + corner
        weight = np.prod(1 - np.abs(index - place))
        total += float(weight) * float(array[tuple(np.clip(place, 0, np.subtract(array.shape, 1)))])
    return total
