"""Labelled nodes of other patients in a training patch: both scans and the label, cut out whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pydantic import Field
from scipy import ndimage

from hilum.core.connected_components import components
from hilum.core.geometry import IntTriple
from hilum.core.modality import modality
from hilum.core.settings import Settings

from ..io.boxes import overlap
from ..store.case_store import CaseStore, Patch, StoredCase

TISSUE_HU = (-150.0, 200.0)
"""Fat to enhanced soft tissue: neither lung nor bone."""
SHARE = 0.8
"""Least share of the place that must be tissue."""
TRIES = 8


class CopySettings(Settings):
    """How often a labelled node of another patient is pasted into a training patch.

    Where no place is found the patch stays as it is.
    """

    p: float = Field(0.0, ge=0, le=1, description="probability of trying it per patch; 0: never")
    margin_mm: float = Field(
        6.0, ge=0, description="upper bound of the (uniform) surroundings of a copied node, mm"
    )


class Copy(NamedTuple):
    """A cut-out node and where it goes.

    Attributes:
        low: First index of its box in the case that gets it.
        inside: Booleans `[D, H, W]`: what is replaced.
        image: float16 `[M, D, H, W]`, physical units.
        label: uint8 `[D, H, W]`.
    """

    low: np.ndarray
    inside: np.ndarray
    image: np.ndarray
    label: np.ndarray


class NodeCopies:
    """Draws copies. Final.

    A node is cut out with surroundings of a random width, mirrored along random axes, and put
    where the CT shows tissue (without a CT: inside the body), the label is known, and no node is.
    A place is looked for a few times; where there is none the patch stays as it is.

    Source:
        Zhang et al., "CarveMix", MICCAI 2021, arXiv:2108.06883. There lesions keep their place in
        registered brains and may be cut smaller than they are; here they are placed in tissue and
        come whole.

    Args:
        store: Where the cases are.
        ids: Cases that give nodes.
        modalities: Channels of the patch; a donor has all of those that the case has.
        settings: How often, how much.
    """

    def __init__(
        self,
        store: CaseStore,
        ids: Sequence[str],
        modalities: Sequence[str],
        settings: CopySettings,
    ) -> None:
        self.store, self.settings, self.modalities = store, settings, tuple(modalities)
        self.ids = [name for name in ids if store.rows[name]["nodes"]]

    def draw(
        self,
        case: StoredCase,
        start: np.ndarray,
        sides: IntTriple,
        generator: np.random.Generator,
    ) -> Copy | None:
        """Return what to paste into a patch, if anything.

        Args:
            case: That the patch is of.
            start: First index of the patch.
            sides: Of the patch.
            generator: Of this item alone.
        """
        if generator.random() >= self.settings.p or case.label is None:
            return None
        donors = [name for name in self.ids if self._gives(name, case)]
        if not donors:
            return None
        found = self._cut(self.store[donors[generator.integers(len(donors))]], generator)
        shape = found.inside.shape
        for _ in range(TRIES):
            centre = start + generator.integers(0, sides)
            low = centre - np.array(shape) // 2
            if self._fits(case, low, found.inside):
                return found._replace(low=low)
        return None

    def _gives(self, name: str, case: StoredCase) -> bool:
        row = self.store.rows[name]
        wanted = set(self.modalities) & set(case.modalities)
        if list(row.get("annotated", [])) not in ([], list(case.annotated)):
            return False  # of what comes along, less would be known than the case says
        return row["patient"] != case.patient and wanted <= set(row["modalities"])

    def _cut(self, donor: StoredCase, generator: np.random.Generator) -> Copy:
        """Return a node of a donor, its place not known yet."""
        number = int(generator.integers(len(donor.nodes)))
        node, spacing = donor.nodes[number], donor.grid.spacing
        margin = float(generator.uniform(0, self.settings.margin_mm))
        reach = np.ceil(margin / np.array(spacing)).astype(int)
        low = np.array(node["box"][0]) - reach
        depth, height, width = (np.array(node["box"][1]) + reach - low).tolist()
        patch = donor.read(low.tolist(), (depth, height, width), self.modalities)
        assert patch.label is not None
        points, numbers = donor.foreground.points, donor.foreground.node
        seed = tuple(points[np.searchsorted(numbers, number)].astype(int) - low)
        parts, _ = components(patch.label == node["class"])
        own = parts == parts[seed]
        near = ndimage.distance_transform_edt(~own, sampling=spacing) <= margin
        inside = own | (near & (patch.regions & 1).astype(bool))
        axes = [axis for axis in range(3) if generator.random() < 0.5]
        return Copy(
            low,
            np.flip(inside, axes),
            np.flip(patch.image, [axis + 1 for axis in axes]),
            np.flip(patch.label, axes),
        )

    def _fits(self, case: StoredCase, low: np.ndarray, inside: np.ndarray) -> bool:
        """Tell whether a place is tissue without nodes, and known."""
        d, h, w = inside.shape
        there = case.read(low.tolist(), (d, h, w), self.modalities)
        if there.label is None or there.label[inside].any():
            return False
        tissue = (there.regions & 1).astype(bool)
        for channel, name in enumerate(self.modalities):
            if modality(name).unit == "HU" and name in case.modalities:
                hu = there.image[channel]
                tissue &= (hu >= TISSUE_HU[0]) & (hu <= TISSUE_HU[1])
        return bool(tissue[inside].mean() >= SHARE)


def paste(patch: Patch, start: Sequence[int], copy: Copy) -> None:
    """Put a copy into a box of its case, in place, as far as it reaches into it.

    Args:
        patch: The box, as read.
        start: Its first index.
        copy: Where it goes is in the case's own indices.
    """
    assert patch.label is not None
    sides = patch.label.shape
    offset = copy.low - np.asarray(start)
    shape: IntTriple = copy.inside.shape  # pyright: ignore[reportAssignmentType]
    box, own = overlap(offset.tolist(), shape, sides)  # pyright: ignore[reportArgumentType]
    inside = copy.inside[own]
    for row in np.flatnonzero(patch.available):
        target = patch.image[(row, *box)]
        target[inside] = copy.image[(row, *own)][inside]
    patch.label[box][inside] = copy.label[own][inside]
