"""Moving a patch equals scipy's slow way, and whole voxels are moved without touching a value."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import ndimage
from torch import Tensor
from torch.testing import assert_close

from hilum.core.geometry import IntTriple, Triple
from hilum.datasets.augmentation import spatial as augmentation_spatial
from hilum.datasets.augmentation.spatial import (
    Pose,
    coarse,
    gaussian,
    interpolation,
    matrix_of,
    move,
    reach,
    rotation,
    separable,
)

SOURCE: IntTriple = (13, 16, 19)
SHAPE: IntTriple = (9, 10, 11)
SPACING: Triple = (3.0, 2.0, 1.25)
POSES = {
    "crop": Pose(),
    "mirror": Pose(mirror=(True, False, True)),
    "grow": Pose(zoom=1.21),
    "shrink beyond the box": Pose(zoom=0.55, mirror=(False, True, False)),
    "turn": Pose((20.0, -10.0, 5.0)),
    "all": Pose((-25.0, 12.0, 30.0), 0.87, (True, True, False)),
}
SHIFTS = {"whole": (3.0, -4.0, 2.5), "part": (1.1, 0.7, -2.3), "none": ()}


@pytest.fixture
def image() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, *SOURCE, generator=generator) * 100


@pytest.fixture
def marks() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 256, SOURCE, generator=generator, dtype=torch.uint8) for _ in range(2)]


def by_scipy(volume: Tensor, matrix: np.ndarray, order: int, fill: float) -> np.ndarray:
    return ndimage.affine_transform(
        volume.numpy().astype(float),
        matrix[:, :3],
        matrix[:, 3],  # pyright: ignore[reportArgumentType]
        output_shape=SHAPE,
        order=order,
        mode="grid-constant",
        cval=fill,
    )


@pytest.fixture(params=["compiled", "torch"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with the compiled kernels, and without them."""
    if request.param == "compiled":
        pytest.importorskip("numba")
    else:
        monkeypatch.setattr(augmentation_spatial, "compiled", lambda: None)


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("shift", SHIFTS.values(), ids=SHIFTS.keys())
@pytest.mark.parametrize("pose", POSES.values(), ids=POSES.keys())
def test_every_way_of_moving_equals_scipy(
    image: Tensor, marks: list[Tensor], pose: Pose, shift: tuple[float, ...]
) -> None:
    matrix = matrix_of(pose, SOURCE, SHAPE, SPACING, shift)
    moved, picked = move(image, marks, matrix, SHAPE, (-1024.0, 3.0))
    assert moved.shape == (2, *SHAPE)
    for channel, fill in enumerate((-1024.0, 3.0)):
        expected = by_scipy(image[channel], matrix, 1, fill)
        assert_allclose(moved[channel].numpy(), expected, atol=2e-2)
    for mark, mine in zip(marks, picked, strict=True):
        assert mine.dtype == torch.uint8
        # A place exactly between two voxels may go either way.
        assert (mine.numpy() != by_scipy(mark, matrix, 0, 0)).mean() < 0.01


@pytest.mark.parametrize("shift", [(), (3.0, -4.0, 2.5)])
@pytest.mark.parametrize("axes", [(False, False, False), (True, False, False), (False, True, True)])
def test_whole_voxels_move_exactly(
    image: Tensor, marks: list[Tensor], axes: tuple[bool, bool, bool], shift: tuple[float, ...]
) -> None:
    matrix = matrix_of(Pose(mirror=axes), SOURCE, SHAPE, SPACING, shift)
    moved, picked = move(image, marks, matrix, SHAPE, (0.0, 0.0))
    steps = [round(s / v) for s, v in zip(shift or (0, 0, 0), SPACING, strict=True)]
    box = tuple(
        slice((n - p) // 2 - s, (n - p) // 2 - s + p)
        for n, p, s in zip(SOURCE, SHAPE, steps, strict=True)
    )
    flips = [axis for axis in range(3) if axes[axis]]
    assert torch.equal(moved, image[:, *box].flip([f + 1 for f in flips]))
    assert torch.equal(picked[0], marks[0][box].flip(flips))
    assert torch.equal(picked[1], marks[1][box].flip(flips))


def test_whole_voxels_from_beyond_the_box_are_exact_too(image: Tensor) -> None:
    matrix = matrix_of(Pose(), SOURCE, SHAPE, SPACING, (12.0, 0.0, 0.0))
    moved, _ = move(image, [], matrix, SHAPE, (-1024.0, 3.0))
    padded = torch.nn.functional.pad(image, (0, 0, 0, 0, 4, 0), value=-1024.0)
    assert torch.equal(moved[0], padded[0, 2:11, 3:13, 4:15])
    assert (moved[1, :2] == 3).all()


def test_a_point_turns_and_stays_at_its_distance_in_mm() -> None:
    angles = (30.0, 20.0, -40.0)
    sides: IntTriple = (21, 31, 49)
    image = torch.zeros(1, *sides)
    place = np.array([10 + 3, 15 + 4, 24 + 6])
    image[(0, *place)] = 1
    image = separable(image, [gaussian(n, 6 / s) for n, s in zip(sides, SPACING, strict=True)])
    matrix = matrix_of(Pose(angles), sides, sides, SPACING)
    moved = move(image, [], matrix, sides, (0.0,))[0][0].numpy()
    centre = np.array(ndimage.center_of_mass(moved))
    before = (place - [10, 15, 24]) * SPACING
    after = (centre - [10, 15, 24]) * SPACING
    assert_allclose(after, rotation(angles).T @ before, atol=0.1)
    assert_allclose(np.linalg.norm(after), np.linalg.norm(before), atol=0.1)


def test_rotation_turns_about_one_axis_at_a_time() -> None:
    assert_allclose(rotation((90, 0, 0)) @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    assert_allclose(rotation((0, 90, 0)) @ [1, 0, 0], [0, 0, 1], atol=1e-12)
    assert_allclose(rotation((0, 0, 90)) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    turn = rotation((10, -20, 30))
    assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert_allclose(np.linalg.det(turn), 1)


@pytest.mark.parametrize("pose", POSES.values(), ids=POSES.keys())
def test_reach_is_the_box_of_all_corners(pose: Pose) -> None:
    matrix = matrix_of(pose, SHAPE, SHAPE, SPACING)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in SHAPE])).reshape(3, -1)
    places = matrix[:, :3] @ corners
    assert_allclose(reach(pose, SHAPE, SPACING), np.ptp(places, axis=1) + 1)


def test_a_gaussian_keeps_constants_and_has_its_width() -> None:
    weights = gaussian(41, 5.0).double()
    assert_allclose(weights.sum(1), 1, atol=1e-6)
    line = weights[20].numpy()
    assert_allclose(np.interp([17.5, 22.5], range(41), line), line[20] / 2, rtol=0.02)
    spread = (line * (np.arange(41) - 20) ** 2).sum()
    assert_allclose(2.3548 * np.sqrt(spread), 5, rtol=0.01)
    assert_close(gaussian(7, 0.0), torch.eye(7))


def test_coarse_keeps_constants_and_averages() -> None:
    assert_close(coarse(10, 1.0), torch.eye(10))
    assert_allclose(coarse(12, 0.4).sum(1), 1, atol=1e-6)
    pairs = torch.arange(8.0) // 2
    # Half the voxels: each is the mean of two, then linear interpolation a quarter of the way.
    assert_close(coarse(8, 0.5) @ pairs, torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]))


def test_separable_is_a_product_per_axis(image: Tensor) -> None:
    weights = [interpolation(5, n, 1.7, -0.4) for n in SOURCE]
    expected = torch.einsum("cdhw,xd,yh,zw->cxyz", image, *weights)
    assert_close(separable(image, weights), expected)


def test_autocast_does_not_round_values(image: Tensor) -> None:
    weights = [interpolation(n, n, 1.0, 0.3) for n in SOURCE]
    with torch.autocast("cpu", torch.bfloat16):
        found = separable(image, weights)
    assert_close(found, separable(image, weights), rtol=0, atol=0)


def test_a_tilt_turns_about_the_middle_before_the_shift() -> None:
    matrix = matrix_of(Pose(), SHAPE, SHAPE, SPACING, (3.0, 0.0, 0.0), (30.0, 0.0, 0.0))
    middle = (np.array(SHAPE) - 1) / 2
    # A point 6 mm along the height axis, turned about depth and shifted, computed by hand.
    source = matrix[:, :3] @ (middle + np.array([0, 3, 0])) + matrix[:, 3] - middle
    turned = np.array([0, 6 * np.cos(np.deg2rad(30)), 6 * np.sin(np.deg2rad(30))])
    assert_allclose(source * SPACING, turned - np.array([3, 0, 0]), atol=1e-9)
