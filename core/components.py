"""Connected components of a mask, with the neighbourhood named by its number of neighbours."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import ndimage


def components(mask: np.ndarray, neighbours: Literal[6, 18, 26] = 26) -> tuple[np.ndarray, int]:
    """Number the connected parts of a mask from 1 on.

    Args:
        mask: Booleans `[D, H, W]`.
        neighbours: 6 shares faces, 18 edges too, 26 corners too.

    Returns:
        int32 `[D, H, W]`, 0 outside, and how many parts there are.
    """
    structure = ndimage.generate_binary_structure(3, {6: 1, 18: 2, 26: 3}[neighbours])
    labels = np.zeros(mask.shape, np.int32)
    count = ndimage.label(mask, structure, output=labels)
    return labels, int(count)  # pyright: ignore[reportArgumentType]
