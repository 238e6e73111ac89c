"""Shapes of nodes by the statistics of real ones: long, bent, rough, and matted.

Another family of shapes than the pretext task's (`pretrain/parts/node_shapes.py`: waves over the
directions of a star-shaped body): here the surface is the level set of a field in space, so that
neither teaches the other by heart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ..canvas import Floats
from ..shapes import Offsets, Shape, directions

LOG_EXCESS, LOG_EXCESS_SPREAD = -0.25, 0.62
"""Mean and standard deviation of log(long over short axis - 1) of a single node."""
GREATEST_RATIO = 5.0
BENT = 0.1
"""Standard deviation of the bend: sagitta of the long axis as a share of the short one."""
WAVES = 20
COARSE, FINE = 0.08, 0.04
"""Standard deviation of the field's coarse (lobulation) and fine (roughness) half."""
COARSE_SHORTS, FINE_MM = (0.75, 1.5), (4.0, 9.0)
"""Wavelengths: of the coarse half in short axes, of the fine one in mm."""
MATTED = 0.10
"""Probability that a node is a matted group of two to four."""
_MERGE = 9.0
"""Sharpness of the smooth minimum between the lobes of a matted group."""


@dataclass(frozen=True, eq=False)
class Lobed(Shape):
    r"""Bent ellipsoids, merged, with a rough surface. Final.

    With $p$ in half axes, straightened, and lobes at $c_l$ of relative size $s_l$:
    $f = \\min_l |p - c_l| / s_l \\cdot \\exp \\sum_j h_j \\cos(k_j \\cdot x + q_j)$.

    Attributes:
        axes_mm: Short, middle and long axis of one lobe of size 1.
        turn: 3 x 3, rows are the directions of the axes in RAS.
        bend: Sagitta of the long axis in mm, towards the short one.
        lobes: Middle in half axes and relative size of each lobe `[L, 4]`.
        waves: Wave vectors in radians per mm `[W, 3]`.
        phases, heights: `[W]`.
    """

    axes_mm: NDArray[np.float64]
    turn: NDArray[np.float64]
    bend: float
    lobes: NDArray[np.float64]
    waves: NDArray[np.float64]
    phases: NDArray[np.float64]
    heights: NDArray[np.float64]

    @property
    def reach_mm(self) -> float:
        """Distance from the middle beyond which nothing lies."""
        far = np.linalg.norm(self.lobes[:, :3] * self.axes_mm / 2, axis=1)
        return float((far + self.lobes[:, 3] * self.axes_mm.max() * 0.72).max()) + abs(self.bend)

    def form(self, offsets: Offsets, short_mm: float) -> tuple[Floats, list[Floats]]:
        """Return 1 plus the distance to the surface in half short axes, and the place."""
        x, y, z = offsets
        turn = self.turn.astype("f4")
        short, middle, long = (row[0] * x + row[1] * y + row[2] * z for row in turn)
        half = (self.axes_mm / 2).astype("f4")
        # The long axis follows a parabola whose mean is 0.
        short = short - np.float32(self.bend) * ((long / half[2]) ** 2 - np.float32(0.2))
        own = [short / half[0], middle / half[1], long / half[2]]
        value = _merged(own, self.lobes.astype("f4"))
        value = value * np.exp(self._field(x, y, z))
        if min(value.shape) < 2:
            return value, own
        # First-order distance: (f - 1) over the length of its gradient, per mm.
        steps = [_step(axis, place) for axis, place in enumerate((z, y, x))]
        slope = np.sqrt(sum(part**2 for part in np.gradient(value, *steps)))
        distance = (value - 1) / np.maximum(slope, np.float32(0.3 / half.max()))
        return 1 + distance / np.float32(short_mm / 2), own

    def _field(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Return the sum of the waves; each is a product of one factor per axis."""
        total = 0
        rows = np.column_stack([self.waves, self.phases, self.heights]).astype("f4")
        for a, b, c, phase, height in rows:
            wave = np.exp(1j * (a * x + phase)) * np.exp(1j * b * y) * np.exp(1j * c * z)
            total = total + height * wave.real
        return np.asarray(total, np.float32)


def draw_lobed(rng: np.random.Generator, short_mm: float) -> Lobed:
    """Draw a shape with this short axis.

    Source:
        932 masks of the NIH CT Lymph Nodes (Roth et al., 2014, doi:10.1007/978-3-319-10404-1_65);
        `benchmarks/phantom_shapes.py` prints their distributions against these.
    """
    ratio = min(1 + np.exp(rng.normal(LOG_EXCESS, LOG_EXCESS_SPREAD)), GREATEST_RATIO)
    axes = short_mm * np.array([1.0, ratio ** rng.uniform(0, 0.8), ratio])
    matted = rng.random() < MATTED
    lobes = _mat(rng) if matted else np.array([[0.0, 0.0, 0.0, 1.0]])
    if matted:
        # A group is as wide as it was asked to be, and each of its nodes is smaller.
        axes = axes * 0.8 * np.array([1.0, 1.0, min(1.0, 2.0 / ratio)])
    shape = min(short_mm, 16.0)
    lengths = np.concatenate(
        [
            shape * rng.uniform(*COARSE_SHORTS, WAVES // 2),
            rng.uniform(*FINE_MM, WAVES - WAVES // 2),
        ]
    )
    heights = np.repeat([COARSE, FINE], WAVES // 2) * np.sqrt(4 / WAVES)
    return Lobed(
        axes,
        _turn(rng),
        float(rng.normal(0, BENT)) * short_mm * float(np.clip(ratio - 1, 0, 1.5)),
        lobes,
        directions(rng, WAVES) * (2 * np.pi / lengths)[:, None],
        rng.uniform(0, 2 * np.pi, WAVES),
        heights * rng.uniform(0.5, 1.5),
    )


def _mat(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the lobes of a matted group: each beside one before it, the whole in the middle."""
    count = int(rng.integers(2, 5))
    sizes = rng.uniform(0.65, 1.0, count)
    places = np.zeros((count, 3))
    for k in range(1, count):
        near = int(rng.integers(k))
        apart = (sizes[near] + sizes[k]) * rng.uniform(0.75, 0.95)
        places[k] = places[near] + directions(rng, 1)[0] * apart
    places -= (places * sizes[:, None] ** 3).sum(0) / (sizes**3).sum()
    return np.column_stack([places, sizes])


def _turn(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the axes' directions: the long one mostly along the body, as chains of nodes run."""
    long = directions(rng, 1)[0] * (0.7, 0.7, 1.3)
    spin = rng.uniform(0, 2 * np.pi)
    turn = Rotation.align_vectors([long], [[0, 0, 1]])[0]
    return (turn * Rotation.from_euler("z", spin)).as_matrix().T


def _merged(own: list[Floats], lobes: Floats) -> Floats:
    lengths = [
        np.sqrt(sum((p - c) ** 2 for p, c in zip(own, centre, strict=True))) / size
        for *centre, size in lobes
    ]
    if len(lengths) == 1:
        return lengths[0]
    least = np.minimum.reduce(lengths)
    near = sum(np.exp(_MERGE * (least - length)) for length in lengths)
    return least - np.log(near) / np.float32(_MERGE)


def _step(axis: int, place: Floats) -> float:
    """Return the mm between neighbours along an axis of an open grid."""
    line = place.ravel() if place.ndim == 3 and place.size == place.shape[axis] else None
    if line is None:
        line = np.moveaxis(place, axis, 0).reshape(place.shape[axis], -1)[:, 0]
    return float(abs(line[1] - line[0]))
