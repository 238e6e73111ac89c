"""A registration is accepted only if it is small, brings the outlines together, and repeats."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.core.geometry import Grid
from hilum.datasets.io.nifti import Volume
from hilum.datasets.prepare.acceptance import Agreement, Limits, doubt, random_move, size_of

GRID = Grid.from_spacing((30, 40, 50), (5, 5, 5), (-125, -100, -75))
LIMITS = Limits(25, 10, 0.03)


def body(shift: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """Return 1 inside an ellipsoid that lies off by so many mm (right, anterior, superior)."""
    points = GRID.to_world(np.moveaxis(np.indices(GRID.shape), 0, -1)) - shift
    return (((points / (80, 60, 55)) ** 2).sum(-1) < 1).astype(np.float32)


CT = Volume(body() * 1040 - 1000, GRID)


def translation(*mm: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = mm
    return matrix


def rotation(degrees: float) -> np.ndarray:
    matrix, angle = np.eye(4), np.radians(degrees)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return matrix


def why(pet: Volume, matrix: np.ndarray, ends: np.ndarray | None = None) -> str:
    agreement = Agreement.of(CT, pet, ("ct", "pet"))
    return doubt(matrix, lambda _: matrix if ends is None else ends, agreement, LIMITS)[0]


AWAY = Volume(body((15, -10, 12)), GRID)
HERE = Volume(body(), GRID)
BACK = translation(-15, 10, -12)


@pytest.mark.parametrize(
    ("pet", "matrix", "ends", "reason"),
    [
        (AWAY, BACK, None, ""),
        (AWAY, BACK, translation(-14, 10, -12), ""),
        (AWAY, BACK, translation(-5, 0, 0), "other starts end elsewhere"),
        (AWAY, translation(15, -10, 12), None, "the outlines agree no better by 0.03"),
        (HERE, translation(2, 1, 0), None, "the outlines agree no better by 0.03"),
        (HERE, translation(22, 0, 0), None, "the outlines agree no better by 0.03"),
        (HERE, np.eye(4), None, "the outlines agree no better by 0.03"),
        (AWAY, translation(-30, 0, 0), None, "beyond 25 mm or 10 degrees"),
        (HERE, rotation(16), None, "beyond 25 mm or 10 degrees"),
        (Volume(np.ones(GRID.shape, np.float32), GRID), BACK, None, "the outlines agree no better"),
    ],
    ids=[
        "true",
        "true, ends near",
        "not repeated",
        "wrong way",
        "aligned, small",
        "aligned, large",
        "no move",
        "far",
        "rotated",
        "no outline",
    ],
)
def test_only_a_true_move_is_believed(
    pet: Volume, matrix: np.ndarray, ends: np.ndarray | None, reason: str
) -> None:
    found = why(pet, matrix, ends)
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


def test_a_slab_says_nothing_of_its_length() -> None:
    legs = (np.abs(GRID.to_world(np.moveaxis(np.indices(GRID.shape), 0, -1))[..., 0]) < 60) * 1.0
    slab = Volume((legs * 1040 - 1000).astype(np.float32), GRID)
    agreement = Agreement.of(slab, Volume(legs.astype(np.float32), GRID), ("ct", "pet"))
    assert doubt(translation(0, 0, 12), lambda m: m, agreement, LIMITS)[0]


def test_size_of_a_move_by_hand() -> None:
    mm, degrees = size_of(translation(3, 4, 0) @ rotation(7), GRID)
    middle = GRID.to_world((np.array(GRID.shape) - 1) / 2)
    there = rotation(7)[:3, :3] @ middle + (3, 4, 0)
    assert mm == pytest.approx(float(np.linalg.norm(there - middle)))
    assert degrees == pytest.approx(7)


def test_random_moves_are_rigid_and_about_the_middle() -> None:
    generator = np.random.default_rng(0)
    sizes = [size_of(random_move(generator, GRID, 3, 1), GRID) for _ in range(300)]
    # The length of three normal numbers has the mean 2 sqrt(2 / pi) times their spread.
    assert np.mean(sizes, 0) == pytest.approx(np.array([3, 1]) * 2 * np.sqrt(2 / np.pi), rel=0.1)
    matrix = random_move(generator, GRID, 3, 1)[:3, :3]
    assert np.allclose(matrix @ matrix.T, np.eye(3))
