"""Labels of several raters on the grid of a prepared case."""

from __future__ import annotations

import numpy as np

from hilum.core.case import IGNORE, Case
from hilum.core.geometry import Grid

from ..io.lattice import place_mask
from ..io.nifti import Volume, read_label
from ..io.resampling import resample
from ..raters.fusing import Fusion, fuse
from ..raters.reading import Raters, read_raters
from ..raters.shares import shares_of
from ..store.raters import PreparedRaters
from .checks import check_classes


def label_and_raters(case: Case, how: Fusion) -> tuple[Volume | None, Raters | None]:
    """Read the label of a case, fused if it has none but those of raters, and these.

    Raises:
        DataError: If a file cannot be used.
    """
    raters = read_raters(case)
    if raters is not None:
        for name, mask in zip(raters.names, raters.masks, strict=True):
            check_classes(case, Volume(mask, raters.volume.grid), case.raters[name])
    if case.label is not None:
        return read_label(case.label, case.id), raters
    if raters is None:
        return None, None
    return Volume(fuse(raters.masks, how), raters.volume.grid), raters


def on_crop(
    case: Case, raters: Raters, source: Grid, crop: Grid, label: np.ndarray, soft: bool
) -> PreparedRaters:
    """Return what raters said on the prepared grid, and their mixtures if they are wanted.

    Args:
        case: For messages.
        raters: On their own grid.
        source: Of the reference scan.
        crop: The prepared grid.
        label: uint8 `[D, H, W]` on it, which says what is unknown.
        soft: Whether the fractions of answers are kept, too.
    """
    masks = np.empty((len(raters.names), *crop.shape), np.uint8)
    for row, (name, mask) in enumerate(zip(raters.names, raters.masks, strict=True)):
        volume = Volume(mask, raters.volume.grid)
        placed, _ = place_mask(volume, source, case=case.id, file=case.raters[name])
        masks[row] = resample(placed.array, placed.grid, crop, order=0)
    if not soft:
        return PreparedRaters(raters.names, masks)
    mixed, shares = shares_of(masks, case.id)
    # What is unknown by a partial label is so whatever raters left unmarked.
    mixed = np.where((label == IGNORE) & (mixed == 0), np.uint8(IGNORE), mixed)
    return PreparedRaters(raters.names, masks, mixed, shares)
