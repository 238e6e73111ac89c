"""Labelled nodes, and places of the same shape that are none: what a probe must tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from hilum.core.connected_components import components
from hilum.core.seeds import numpy_generator
from hilum.datasets.store.case_store import StoredCase

BESIDE, HOT, TRIES = 2, 1, 30
"""Places anywhere in the body and on uptake that each node is compared with; tries for each."""


class Region(NamedTuple):
    """A part of a case.

    Attributes:
        kind: `node` or `background`.
        name: Its number among those of its kind.
        mask: Booleans.
        start: Index in the case of the mask's first voxel.
        about: Entry of the node in `case.json`; for a background that of the node it is shaped as.
    """

    kind: str
    name: str
    mask: np.ndarray
    start: tuple[int, int, int]
    about: dict[str, Any]

    @property
    def middle(self) -> np.ndarray:
        """The mean index of its voxels in the case."""
        return np.argwhere(self.mask).mean(0) + self.start


def regions_of(case: StoredCase, seed: int) -> Iterator[Region]:
    """Yield each labelled node of a case, and places of its shape in known background."""
    if case.label is None or not case.nodes:
        return
    label = np.asarray(case.label)
    free = (np.asarray(case.regions) & 1).astype(bool) & (label == 0)
    generator = numpy_generator(seed, "background", case.id)
    hot, _ = case.hot
    for number, node in enumerate(case.nodes):
        start, stop = node["box"]
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        mask = _own(label[box] == node["class"], node["voxels"])
        found = Region("node", f"n{number + 1}", mask, (start[0], start[1], start[2]), node)
        yield found
        spots = np.asarray(hot, int).reshape(-1, 3)
        near = [(spots, HOT), (None, BESIDE)]
        placed = [p for pool, most in near for p in _places(found, free, pool, most, generator)]
        for index, place in enumerate(placed, 1):
            yield Region("background", f"n{number + 1}b{index}", mask, place, node)


def _own(mask: np.ndarray, voxels: int) -> np.ndarray:
    """Return the component of a box that the box belongs to: the one with so many voxels."""
    parts, _ = components(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return parts == int(np.argmin(np.abs(sizes - voxels)))


def _places(
    node: Region,
    free: np.ndarray,
    pool: np.ndarray | None,
    most: int,
    generator: np.random.Generator,
) -> list[tuple[int, int, int]]:
    """Return where the mask lies in free body alone; fewer if there is no room.

    Args:
        node: Gives the mask.
        free: Where it may lie.
        pool: Voxels to put its middle on; anywhere in the body if not given.
        most: Places wanted.
        generator: Draws.
    """
    sides = np.array(node.mask.shape)
    found: list[tuple[int, int, int]] = []
    for _ in range(TRIES):
        if len(found) == most or (pool is not None and not len(pool)):
            break
        if pool is None:
            start = generator.integers(0, np.maximum(np.array(free.shape) - sides, 0) + 1)
        else:
            start = pool[generator.integers(len(pool))] - sides // 2
        inside = (start >= 0).all() and (start + sides <= free.shape).all()
        box = tuple(slice(a, a + n) for a, n in zip(start, sides, strict=True))
        if inside and free[box][node.mask].all():
            found.append((int(start[0]), int(start[1]), int(start[2])))
    return found
