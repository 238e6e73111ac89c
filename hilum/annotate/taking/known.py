"""What of a corrected mask is known: what was reviewed is, the rest may be unknown."""

from __future__ import annotations

from typing import Literal

import numpy as np

from hilum.core.case import IGNORE, Case
from hilum.datasets.io.nifti import read_label, read_volume
from hilum.datasets.prepare.partial_labels import with_unknown

from ..proposing.record import Proposal
from .reviewed import Reviewed

Rest = Literal["auto", "background", "unknown"]
"""What lies outside of all that was proposed or drawn: `auto` is unknown if some proposals were
left unfinished, and background otherwise."""


def known_mask(reviewed: Reviewed, proposal: Proposal, case: Case, rest: Rest) -> np.ndarray:
    """Return the label to learn from, uint8 on the grid of the proposal.

    Unfinished segments are unknown (255). With an unknown rest, so is all that nobody proposed or
    drew, but for air and lung in a CT, where there can be no node. A proposal that was deleted, or
    the part of one that was cut away, is known to be background.

    Args:
        reviewed: What the labeller made.
        proposal: What was proposed.
        case: Its scans.
        rest: What the rest is.
    """
    mask = reviewed.mask.copy()
    if reviewed.unfinished is not None:
        mask[reviewed.unfinished] = IGNORE
    if rest == "background" or (rest == "auto" and reviewed.unfinished is None):
        return mask
    proposed = read_label(proposal.mask_of_proposal, proposal.case).array > 0
    ct = None
    if proposal.scan.split("_")[0] == "ct" and proposal.scan in case.volumes:
        ct = read_volume(case.volumes[proposal.scan], case.id).array
    found = with_unknown(mask, np.ones(mask.shape, bool), ct)
    looked = proposed & (mask == 0)
    return np.where(looked, 0, found).astype(np.uint8)
