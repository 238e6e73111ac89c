"""Part a mask into the regions of a DICOM object: one for each node, or one for each class."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from hilum.core.connected_components import components
from hilum.core.errors import SettingsError
from hilum.core.geometry import Grid

Segments = Literal["nodes", "classes"]
NAMES: Mapping[int, str] = {1: "Lymph node"}
"""What classes are called if nobody names them; others are `Class n`."""
COLOURS = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66),
    (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
"""Okabe and Ito: colour-blind eyes tell them apart. After the last the first comes again."""

Term = tuple[str, str]
"""Code and meaning in SNOMED CT."""
_NODE = re.compile(r"lymph|\bnod(e|al)|\blns?\b|gtv[\s_-]*n", re.IGNORECASE)
_TUMOUR = re.compile(r"tumou?r|primary|gtv|lesion|mass", re.IGNORECASE)


@dataclass(frozen=True)
class Region:
    """One region of a mask.

    Attributes:
        number: From 1 on; its value in the array of numbers.
        name: With its rank by volume, if there is one region for each node.
        colour: Red, green and blue, 0 to 255.
        category: What sort of thing it is (DICOM CID 7150).
        type: What it is.
        box: The smallest box around it.
        voxels: How many it has.
    """

    number: int
    name: str
    colour: tuple[int, int, int]
    category: Term
    type: Term
    box: tuple[slice, ...]
    voxels: int


def regions(
    mask: np.ndarray, grid: Grid, segments: Segments = "nodes", names: Mapping[int, str] = NAMES
) -> tuple[np.ndarray, list[Region]]:
    """Number the regions of a mask.

    Nodes are connected components (26 neighbours) of one class, the largest first, so that with
    one class they have the numbers of the node table.

    Args:
        mask: uint8 `[D, H, W]`, 0 background.
        grid: Where it lies; decides between nodes of one size, as in the node table.
        segments: One region for each node, or for each class.
        names: Of the classes.

    Returns:
        int32 `[D, H, W]` with the number of each region, and the regions in order.
    """
    if segments not in ("nodes", "classes"):
        raise SettingsError(
            "segments must be nodes or classes", found=repr(segments), remedy="choose one of them"
        )
    found = _nodes(mask, grid) if segments == "nodes" else _classes(mask)
    labels = np.zeros(mask.shape, np.int32)
    rows: list[Region] = []
    ranks: dict[int, int] = {}
    for number, (value, box, inside) in enumerate(found, 1):
        labels[box][inside] = number
        ranks[value] = ranks.get(value, 0) + 1
        name = names.get(value) or NAMES.get(value) or f"Class {value}"
        category, kind = terms(name)
        rows.append(
            Region(
                number,
                f"{name} {ranks[value]}" if segments == "nodes" else name,
                COLOURS[(number - 1) % len(COLOURS)],
                category,
                kind,
                box,
                int(inside.sum()),
            )
        )
    return labels, rows


def terms(name: str) -> tuple[Term, Term]:
    """Return category and type, in SNOMED CT, of what a name means; nodes if in doubt of tumours.

    Examples:
        >>> terms("GTVn")[1]
        ('59441001', 'Lymph Node')
        >>> terms("Class 3")[1]
        ('85756007', 'Tissue')
    """
    if _NODE.search(name):
        return ("91723000", "Anatomical Structure"), ("59441001", "Lymph Node")
    if _TUMOUR.search(name):
        return ("49755003", "Morphologically Abnormal Structure"), ("108369006", "Neoplasm")
    return ("85756007", "Tissue"), ("85756007", "Tissue")


def _classes(mask: np.ndarray) -> Iterator[tuple[int, tuple[slice, ...], np.ndarray]]:
    for value, box in enumerate(ndimage.find_objects(mask), 1):
        if box is not None:
            yield value, box, mask[box] == value


def _nodes(mask: np.ndarray, grid: Grid) -> list[tuple[int, tuple[slice, ...], np.ndarray]]:
    """Return class, box and voxels of each node, the largest first."""
    _, axes, flips = grid.canonical()
    over = tuple(axis for axis in range(3) if flips[axis])
    turned = np.flip(mask.transpose(axes), over)
    found = []
    for value, _, _ in _classes(mask):
        labels, _ = components(turned == value)
        labels = np.flip(labels, over).transpose(np.argsort(axes))
        for number, box in enumerate(ndimage.find_objects(labels), 1):
            found.append((value, box, labels[box] == number))
    return sorted(found, key=lambda node: -int(node[2].sum()))
