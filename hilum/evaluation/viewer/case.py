"""What the viewer shows of a case: slices as PNG, contours as lines, and the node table."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from scipy import ndimage

from hilum.core.errors import DataError
from hilum.core.geometry import Grid, nearest_index

from ..metrics.instances import Instances, foreground_box
from ..metrics.node_record import NodeRecord

Window = tuple[float, float]
"""Lower and upper end of what is shown, in the unit of a layer."""
FUSED = "fused"
PRESETS: dict[str, dict[str, Window]] = {
    "HU": {
        "soft tissue": (-160, 240),
        "mediastinum": (-125, 225),
        "lung": (-1350, 150),
        "bone": (-400, 1100),
        "brain": (0, 80),
    },
    "SUV": {"0 to 8": (0, 8), "0 to 5": (0, 5), "0 to 12": (0, 12), "0 to 25": (0, 25)},
}
"""Windows to choose from, by unit; the first of each is that of the pictures."""
BODY_HU, SAMPLES, MARGIN_MM = -300.0, 12, 15.0
"""What is body in a CT, on how many slices it is looked for, and how much of the air is shown."""


@dataclass(frozen=True)
class Layer:
    """One scan or map of a case.

    Attributes:
        name: Such as `ct`.
        unit: Of its values.
        window: To begin with.
        slice_at: Gives the values `[H, W]` at a depth of the case's grid.
    """

    name: str
    unit: str
    window: Window
    slice_at: Callable[[int], np.ndarray]

    @property
    def presets(self) -> dict[str, Window]:
        """Windows to choose from; its own comes first."""
        known = PRESETS.get(self.unit, {})
        return known if self.window in known.values() else {"whole range": self.window} | known


@dataclass(frozen=True)
class Marked:
    """The nodes of a mask, cut to the box around all of them.

    Attributes:
        labels: `[D, H, W]`, the number of each node.
        start: Where the box begins in the case's grid.
    """

    labels: np.ndarray
    start: tuple[int, int, int]


@dataclass(frozen=True)
class Shown:
    """A case to look at.

    Attributes:
        id: Of the case.
        grid: Canonical: slices from below upwards, rows to anterior, columns to the right.
        layers: In the order of the panes.
        marked: Nodes by whose they are, such as `prediction`; of each region by itself, such as
            `prediction: core`, numbered on.
        nodes: The node table; `id` is the number in what is marked as `prediction`.
        partners: What each of these nodes lies on, by number; empty if nothing is compared.
        missed: Nodes of the reference that none lies on, by their numbers there.
    """

    id: str
    grid: Grid
    layers: Sequence[Layer]
    marked: Mapping[str, Marked] = field(default_factory=dict)
    nodes: Sequence[NodeRecord] = ()
    partners: Mapping[int, str] = field(default_factory=dict)
    missed: Sequence[NodeRecord] = ()

    @property
    def fused(self) -> bool:
        """Whether there is a CT to lay a PET over."""
        return {"ct", "pet"} <= {layer.name for layer in self.layers}

    def layer(self, name: str) -> Layer:
        """Return a layer by its name.

        Raises:
            DataError: If there is none.
        """
        for one in self.layers:
            if one.name == name:
                return one
        raise DataError(f"the case must have {name}", case=self.id)


def mark(mask: np.ndarray, grid: Grid, nodes: Sequence[NodeRecord] = (), after: int = 0) -> Marked:
    """Number the nodes of a mask as in its node table, by where their centres lie.

    Args:
        mask: `[D, H, W]` on `grid`, 0 background.
        grid: Canonical.
        nodes: The table; a node that is not in it gets a number after the last.
        after: The last number that is taken already.
    """
    if not mask.any():
        return Marked(np.zeros((0, 0, 0), np.uint16), (0, 0, 0))
    box = foreground_box(mask)
    start = (box[0].start, box[1].start, box[2].start)
    found = Instances.of(mask[box])
    labels = found.labels
    numbers = np.zeros(found.count + 1, np.uint16)
    places = {node.id: np.array(node.centroid_mm, float) for node in nodes}
    following = max([after, *places]) + 1
    middles = ndimage.center_of_mass(labels > 0, labels, range(1, found.count + 1))
    for index in range(1, found.count + 1):
        place = grid.to_world(np.array(middles[index - 1], float) + start)
        near = min(places, key=lambda n: float(np.abs(places[n] - place).max()), default=None)
        # The table is rounded to a hundredth of a millimetre.
        if near is not None and np.abs(places[near] - place).max() < 0.05:
            numbers[index] = near
            del places[near]
        else:
            numbers[index] = following
            following += 1
    return Marked(numbers[labels], start)


def describe(shown: Shown) -> dict[str, object]:
    """Return what a page needs of a case, for JSON."""
    depth, height, width = shown.grid.shape
    return {
        "id": shown.id,
        "shape": [depth, height, width],
        "spacing": list(shown.grid.spacing),
        "first": _first(shown),
        "body": _body(shown),
        "layers": [
            {
                "name": one.name,
                "title": one.name.upper().replace("_", " "),
                "unit": one.unit,
                "window": one.window,
                "presets": one.presets,
            }
            for one in shown.layers
        ],
        "fused": shown.fused,
        "marked": list(shown.marked),
        "nodes": _rows(shown),
    }


def slice_png(shown: Shown, name: str, depth: int, windows: Mapping[str, Window]) -> bytes:
    """Return a slice as PNG, anterior at the top and the patient's right at the left.

    Pixels are voxels: CT grey, PET dark where it is hot, `fused` the PET as heat over the CT.

    Args:
        shown: The case.
        name: Of a layer, or `fused`.
        depth: Of the slice.
        windows: By layer; others keep their own.

    Raises:
        DataError: If there is no such slice or layer.
    """
    if not 0 <= depth < shown.grid.shape[0]:
        raise DataError(
            f"a slice must be below {shown.grid.shape[0]}", case=shown.id, found=f"{depth}"
        )
    if name == FUSED and shown.fused:
        ct, pet = shown.layer("ct"), shown.layer("pet")
        share = scaled(pet.slice_at(depth), windows.get("pet", pet.window))
        pixels = fuse(scaled(ct.slice_at(depth), windows.get("ct", ct.window)), share)
    else:
        one = shown.layer(name)
        share = scaled(one.slice_at(depth), windows.get(name, one.window))
        pixels = np.round((1 - share if one.unit == "SUV" else share) * 255).astype(np.uint8)
    stream = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels[::-1, ::-1]))
    image.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def scaled(values: np.ndarray, window: Window) -> np.ndarray:
    """Return where values lie in a window, from 0 to 1."""
    low, high = window
    return np.clip((values.astype(np.float64) - low) / max(high - low, 1e-9), 0, 1)


def fuse(ct: np.ndarray, pet: np.ndarray) -> np.ndarray:
    """Return PET as heat over CT, both from 0 to 1, as uint8 `[H, W, 3]`."""
    heat = np.stack([np.clip(3 * pet - channel, 0, 1) for channel in range(3)], -1)
    weight = np.clip(pet * 1.6, 0, 0.75)[..., None]
    return np.round((ct[..., None] * (1 - weight) + heat * weight) * 255).astype(np.uint8)


def _first(shown: Shown) -> int:
    """Return the depth to begin with: of the first node, else the middle."""
    if shown.nodes:
        return _depth(shown.nodes[0], shown.grid)
    for marked in shown.marked.values():
        if marked.labels.size:
            return marked.start[0] + int(np.argmax((marked.labels > 0).sum((1, 2))))
    return shown.grid.shape[0] // 2


def _body(shown: Shown) -> list[int]:
    """Return the box around the body in a picture of a slice: left, top, right, bottom.

    Found on some slices of a CT, and the whole slice without one, or if nothing is dense.
    """
    depth, height, width = shown.grid.shape
    ct = next((layer for layer in shown.layers if layer.unit == "HU"), None)
    dense = np.zeros((height, width), bool)
    if ct is not None:
        for index in np.unique(np.linspace(0, depth - 1, SAMPLES).round().astype(int)).tolist():
            # Opened, since the wires of a couch are thin.
            dense |= ndimage.binary_opening(ct.slice_at(index) > BODY_HU, iterations=2)
    if not dense.any():
        return [0, 0, width, height]
    rows, columns = (np.flatnonzero(dense.any(axis)) for axis in (1, 0))
    margin = [round(MARGIN_MM / shown.grid.spacing[axis]) for axis in (1, 2)]
    return [
        max(width - 1 - int(columns[-1]) - margin[1], 0),
        max(height - 1 - int(rows[-1]) - margin[0], 0),
        min(width - int(columns[0]) + margin[1], width),
        min(height - int(rows[0]) + margin[0], height),
    ]


def _depth(node: NodeRecord, grid: Grid) -> int:
    index = grid.to_index(node.centroid_mm)
    return int(np.clip(nearest_index(index[0]), 0, grid.shape[0] - 1))


def _rows(shown: Shown) -> list[dict[str, object]]:
    """Return the lines of the page's table; nodes that were missed are `R` and their number."""
    found = []
    for node in shown.nodes:
        partner = shown.partners.get(node.id)
        found.append(_row(node, shown.grid) | ({"reference": partner} if partner else {}))
    for node in shown.missed:
        found.append(_row(node, shown.grid) | {"id": f"R{node.id}", "reference": "missed"})
    return found


def _row(node: NodeRecord, grid: Grid) -> dict[str, object]:
    row = node.row
    plain = {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()}
    return {**plain, "slice": _depth(node, grid)}
