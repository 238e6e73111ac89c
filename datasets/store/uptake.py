"""Where tracer is taken up but no node is drawn: the places that a detector mistakes for nodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hilum.core.connected_components import components
from hilum.core.geometry import Triple
from hilum.core.modality import modality
from hilum.core.seeds import numpy_generator

SUV = 2.5
LEAST_ML = 0.3
STEP_MM = 3.0
POINTS_PER_SPOT = 200


def hot_spots(
    images: np.ndarray,
    modalities: Sequence[str],
    label: np.ndarray | None,
    spacing: Triple,
    case: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Return voxels of each connected region above SUV 2.5 outside of the label.

    Brain, heart, kidneys, bladder and brown fat, each one spot however large. Looked for on every
    n-th voxel, about 3 mm apart; spots below 0.3 ml are noise.

    Args:
        images: `[M, D, H, W]` in physical units.
        modalities: Names of the channels; the first in SUV counts.
        label: Classes, where one was drawn: neither nodes nor unknown voxels count.
        spacing: mm per voxel.
        case: Seeds the choice of voxels.

    Returns:
        int16 `[N, 3]`, up to 200 voxels of each spot, spot by spot; and int32 `[N]`, the number of
        the spot of each.
    """
    nothing = np.zeros((0, 3), np.int16), np.zeros(0, np.int32)
    channel = next((i for i, name in enumerate(modalities) if modality(name).unit == "SUV"), None)
    if channel is None:
        return nothing
    step = [max(round(STEP_MM / side), 1) for side in spacing]
    sparse = tuple(slice(None, None, n) for n in step)
    hot = images[channel][sparse] > SUV
    if label is not None:
        hot &= label[sparse] == 0
    parts, _ = components(hot)
    place = np.flatnonzero(parts)
    number = parts.ravel()[place]
    sizes = np.bincount(number) * float(np.prod(spacing) * np.prod(step)) / 1000
    generator = numpy_generator(0, "uptake", case)
    points, spots = [nothing[0]], [nothing[1]]
    for kept, spot in enumerate(np.flatnonzero(sizes >= LEAST_ML)):
        inside = place[number == spot]
        chosen = np.sort(generator.permutation(len(inside))[:POINTS_PER_SPOT])
        index = np.stack(np.unravel_index(inside[chosen], parts.shape), 1) * step
        points.append(index.astype(np.int16))
        spots.append(np.full(len(chosen), kept, np.int32))
    return np.concatenate(points), np.concatenate(spots)
