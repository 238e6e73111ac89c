"""The proposals of a case while somebody corrects them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from hilum.core.connected_components import components
from hilum.core.errors import DataError
from hilum.core.geometry import Grid, IntTriple
from hilum.datasets.io.boxes import box_of

STEP = 0.8
"""Factor on the threshold of a node when it grows; divided by it when it shrinks."""
LEAST, MOST = 0.005, 0.99
"""Ends of the threshold."""
REACH_MM = 60.0
"""How far from its seed a node may grow."""
CLICK = 0.5
"""Share of the probability under a click from which on a voxel is of the node there."""

Place = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Piece:
    """A node on the table.

    Attributes:
        value: Its class.
        seed: Voxel of the highest probability.
        threshold: Probability from which on its voxels are its own; as proposed at first.
        accepted: Whether somebody said that it is right.
        added: Whether somebody drew it, and no segmenter.
    """

    value: int
    seed: IntTriple
    threshold: float
    accepted: bool = False
    added: bool = False


@dataclass
class Editor:
    """Numbers of nodes, and what was done to them. Final.

    Attributes:
        case: For messages.
        grid: Canonical.
        probability: float32 `[D, H, W]` of the foreground.
        labels: uint16 `[D, H, W]`, the number of each node.
        pieces: By number.
        rejected: Numbers of proposals that are none.
        done: What was done, in words, for the record.
    """

    case: str
    grid: Grid
    probability: np.ndarray
    labels: np.ndarray
    pieces: dict[int, Piece]
    rejected: list[int] = field(default_factory=list)
    done: list[dict[str, object]] = field(default_factory=list)
    _before: list[tuple[Place, np.ndarray, dict[int, Piece], list[int]]] = field(
        default_factory=list
    )

    def accept(self, number: int) -> None:
        """Say that a node is right as it is."""
        piece = self._piece(number)
        self._keep((slice(0), slice(0), slice(0)))
        self.pieces[number] = replace(piece, accepted=True)
        self._note("accept", number)

    def reject(self, number: int) -> None:
        """Take a node away."""
        piece = self._piece(number)
        box = self._all_of(number)
        self._keep(box)
        part = self.labels[box]
        part[part == number] = 0
        del self.pieces[number]
        if not piece.added:
            self.rejected.append(number)
        self._note("reject", number)

    def grow(self, number: int) -> None:
        """Lower the threshold of a node by a fifth."""
        self._redraw(number, max(self._piece(number).threshold * STEP, LEAST), "grow")

    def shrink(self, number: int) -> None:
        """Raise the threshold of a node by a quarter, its seed always stays."""
        self._redraw(number, min(self._piece(number).threshold / STEP, MOST), "shrink")

    def add(self, place: IntTriple, value: int = 1) -> int:
        """Add the component of probability that a voxel lies in; returns its number.

        Its threshold is half of the probability there.

        Raises:
            DataError: If a node is there already, or the network sees nothing at all.
        """
        if any(not 0 <= p < n for p, n in zip(place, self.labels.shape, strict=True)):
            raise DataError(
                "a click must lie in the scan", case=self.case, remedy="click inside of it"
            )
        if self.labels[place]:
            raise DataError(
                f"node {self.labels[place]} is there already",
                case=self.case,
                remedy="click elsewhere, or let it grow",
            )
        here = float(self.probability[place])
        if here < 2 * LEAST:
            raise DataError(
                "there must be some probability to take a component of",
                case=self.case,
                found=f"{here:.3f}",
                remedy="draw the node in 3D Slicer",
            )
        number = max([0, *self.pieces, *self.rejected]) + 1
        threshold = here * CLICK
        box = self._around(place)
        own = self._component(place, threshold, number, box)
        self._keep(box)
        self.labels[box][own] = number
        peak = np.unravel_index(np.argmax(np.where(own, self.probability[box], -1)), own.shape)
        d, h, w = (int(p) + s.start for p, s in zip(peak, box, strict=True))
        self.pieces[number] = Piece(value, (d, h, w), threshold, accepted=True, added=True)
        self._note("add", number)
        return number

    def undo(self) -> None:
        """Take the last step back.

        Raises:
            DataError: If there is none.
        """
        if not self._before:
            raise DataError(
                "there is nothing to undo",
                case=self.case,
                remedy="steps of before the viewer was started stay",
            )
        box, labels, self.pieces, self.rejected = self._before.pop()
        self.labels[box] = labels
        self.done.append({"what": "undo"})

    def _redraw(self, number: int, threshold: float, what: str) -> None:
        piece = self._piece(number)
        box = self._all_of(number)
        own = self._component(piece.seed, threshold, number, box)
        self._keep(box)
        part = self.labels[box]
        part[part == number] = 0
        part[own] = number
        self.pieces[number] = replace(piece, threshold=threshold, accepted=True)
        self._note(what, number)

    def _component(self, seed: IntTriple, threshold: float, number: int, box: Place) -> np.ndarray:
        """Return the component of a threshold that holds a voxel, without other nodes' voxels."""
        part = self.labels[box]
        inside = (self.probability[box] >= threshold) & ((part == 0) | (part == number))
        at = tuple(p - s.start for p, s in zip(seed, box, strict=True))
        inside[at] = True
        parts, _ = components(inside)
        return parts == parts[at]

    def _around(self, seed: IntTriple) -> Place:
        reach = [int(np.ceil(REACH_MM / s)) for s in self.grid.spacing]
        sides = zip(seed, reach, self.labels.shape, strict=True)
        d, h, w = (slice(max(p - r, 0), min(p + r + 1, n)) for p, r, n in sides)
        return d, h, w

    def _all_of(self, number: int) -> Place:
        """Return the box that holds a node, however far it reaches, and what is near its seed."""
        near = self._around(self._piece(number).seed)
        own = self.labels == number
        if not own.any():
            return near
        start, stop = box_of(own)
        sides = zip(near, start, stop, strict=True)
        d, h, w = (slice(min(s.start, a), max(s.stop, b)) for s, a, b in sides)
        return d, h, w

    def _piece(self, number: int) -> Piece:
        if number not in self.pieces:
            raise DataError(
                f"there must be a node {number}", case=self.case, remedy="load the page again"
            )
        return self.pieces[number]

    def _keep(self, box: Place) -> None:
        self._before.append((box, self.labels[box].copy(), dict(self.pieces), list(self.rejected)))

    def _note(self, what: str, number: int) -> None:
        about: dict[str, object] = {"what": what, "node": number}
        if number in self.pieces and what in ("grow", "shrink", "add"):
            about["threshold"] = round(self.pieces[number].threshold, 4)
        self.done.append(about)
