"""The case store: prepared cases on disk, so that a patch is one slice of a memory map.

The layout is described in docs/data-model.md. Values are physical; the label is never scanned while
training, since foreground voxels are stored per node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from hilum.core.case import IGNORE
from hilum.core.errors import StoreError, did_you_mean
from hilum.core.files import atomic_folder, write_json
from hilum.core.geometry import Grid, IntTriple
from hilum.core.modality import modality
from hilum.core.notes import Note

from ..io.boxes import box_of, overlap, reorder
from .compressed import Voxels, open_array, write_array
from .foreground import Foreground
from .moments import moments
from .places import Place, path_of, read_index
from .raters import PreparedRaters
from .shapes import CaseAbout, check_array, check_classes, read_about, read_points
from .uptake import hot_spots

VERSION = 1
POINTS = "foreground.npz"
Storage = Literal["npy", "b2nd"]
"""Memory maps; or Blosc2, smaller, for disks that are slower than decompression."""


class Patch(NamedTuple):
    """A box of a case; channels in the order that was asked for."""

    image: np.ndarray
    available: np.ndarray
    regions: np.ndarray
    label: np.ndarray | None


@dataclass(frozen=True)
class PreparedCase:
    """A case on its prepared grid, in memory.

    Attributes:
        id: Name of the case.
        patient: Patient it belongs to.
        site: Centre or scanner.
        split: As in the manifest.
        images: float16 `[M, D, H, W]`, physical units.
        modalities: Names of the channels.
        regions: uint8 `[D, H, W]`, bit 0 body, bit 1+i field of view of modality i.
        label: uint8 `[D, H, W]`, or `None`.
        grid: Where the arrays lie.
        source_grid: Grid of the reference file, where predictions go back to.
        factors: What a.u. modalities were divided by.
        inputs: Hash of each input file.
        annotated: Classes that the label was drawn for; empty: all.
        partial: Whether voxels outside of the label are unknown, not background.
        notes: What the user should know of the case.
        moved: 4 x 4 matrix in RAS mm of each modality that was registered to the reference.
        anatomy: uint8 `[D, H, W]`, number of the organ, or `None`.
        scans: Hash of each scan's voxels, as `io.content` makes it.
        raters: What each rater said, or `None`.
    """

    id: str
    patient: str
    site: str
    split: str
    images: np.ndarray
    modalities: tuple[str, ...]
    regions: np.ndarray
    label: np.ndarray | None
    grid: Grid
    source_grid: Grid
    factors: dict[str, float]
    inputs: dict[str, str]
    partial: bool = False
    annotated: tuple[int, ...] = ()
    notes: tuple[Note, ...] = ()
    moved: dict[str, list[list[float]]] = field(default_factory=dict)
    anatomy: np.ndarray | None = None
    scans: dict[str, str] = field(default_factory=dict)
    raters: PreparedRaters | None = None


class StoredCase:
    """One case of a store; arrays are memory maps that are opened when first used."""

    def __init__(self, folder: Path, classes: int = IGNORE, name: str = "") -> None:
        self.folder, self.classes = folder, classes
        self.about: dict[str, Any] = read_about(folder / "case.json", CaseAbout, VERSION)
        self.id: str = name or self.about["id"]
        self.patient: str = self.about["patient"]
        self.site: str = self.about["site"]
        self.split: str = self.about["split"]
        self.modalities: tuple[str, ...] = tuple(self.about["modalities"])
        self.labelled: bool = self.about["labelled"]
        self.annotated: tuple[int, ...] = tuple(self.about.get("annotated", ()))
        self.nodes: list[dict[str, Any]] = self.about["nodes"]
        self.grid = Grid.from_json(self.about["grid"])
        self.source_grid = Grid.from_json(self.about["source_grid"])
        start, stop = self.about["body_box"]
        self.body_box = (np.array(start), np.array(stop))

    @cached_property
    def images(self) -> Voxels:
        """float16 `[M, D, H, W]`."""
        return self._map("images")

    @cached_property
    def regions(self) -> Voxels:
        """uint8 `[D, H, W]`."""
        return self._map("regions")

    @cached_property
    def label(self) -> Voxels | None:
        """uint8 `[D, H, W]`, or `None`."""
        return self._map("label") if self.labelled else None

    @cached_property
    def foreground(self) -> Foreground:
        """Voxels of the nodes."""
        file, names = self.folder / POINTS, ("points", "node", "label")
        found = Foreground(*read_points(file, names, self.grid.shape, self.id))
        check_classes(found.label, self.classes, self.id, file)
        return found

    @cached_property
    def hot(self) -> tuple[np.ndarray, np.ndarray]:
        """Voxels of uptake outside of the label, as `hot_spots` gives them."""
        hot, spot = read_points(self.folder / POINTS, ("hot", "spot"), self.grid.shape, self.id)
        return hot, spot

    def read(self, start: Sequence[int], shape: IntTriple, modalities: Sequence[str]) -> Patch:
        """Read a box that may lie partly outside.

        Outside, and where the case lacks a modality, the image holds the modality's fill value,
        the regions and the label hold 0.

        Args:
            start: First index of the box.
            shape: Its sides.
            modalities: Channels to give, in this order.
        """
        have = [name in self.modalities for name in modalities]
        rows = [self.modalities.index(n) if n in self.modalities else -1 for n in modalities]
        inner, outer = overlap(start, shape, self.grid.shape)
        whole = all(s.stop - s.start == n for s, n in zip(outer, shape, strict=True))
        if whole and rows == list(range(len(self.modalities))):
            image = np.array(self.images[:, *inner])
            regions = np.array(self.regions[inner])
        else:
            fills = [modality(name).fill for name in modalities]
            image = np.empty((len(rows), *shape), np.float16)
            image[:] = np.array(fills, np.float16)[:, None, None, None]
            regions = np.zeros(shape, np.uint8)
            for channel, row in enumerate(rows):
                if row >= 0:
                    image[(channel, *outer)] = self.images[(row, *inner)]
            regions[outer] = reorder(self.regions[inner], rows)
        label = None
        if self.label is not None and whole:
            label = np.array(self.label[inner])
        elif self.label is not None:
            label = np.zeros(shape, np.uint8)
            label[outer] = self.label[inner]
        if label is not None:
            check_classes(label, self.classes, self.id, self.folder)
        return Patch(image, np.array(have), regions, label)

    def _map(self, name: str) -> Voxels:
        file = self.folder / f"{name}.{self.about.get('storage', 'npy')}"
        array, one = open_array(file, self.id), (np.uint8, self.grid.shape)
        many = np.float16, (len(self.modalities), *self.grid.shape)
        check_array(array, *(many if name == "images" else one), self.id, file)
        return array


class CaseStore:
    """A folder of prepared cases, or several such folders as one: `CaseStore({"a": A, "b": B})`.

    Attributes:
        place: The folder, or that of each store by its name.
        path: The folder; of several stores the one that all of them lie in.
        folders: Folder of each case.
        modalities: Every modality that some case has.
        spacing: mm along depth, height, width.
        fingerprint: Hash of settings and inputs; changes when anything in the store does.
        ids: Names of the cases.
        classes: Number of classes, background included.
        notes: What import and preparation noted of the cases.
    """

    def __init__(self, place: Place) -> None:
        self.place, self.path = place, path_of(place)
        about, self.folders = read_index(place, VERSION)
        self.about: dict[str, Any] = about
        self.modalities: tuple[str, ...] = tuple(about["modalities"])
        d, h, w = about["spacing"]
        self.spacing = (float(d), float(h), float(w))
        self.fingerprint: str = about["fingerprint"]
        self.rows: dict[str, dict[str, Any]] = {row["id"]: row for row in about["cases"]}
        self.ids: list[str] = list(self.rows)
        self.classes: int = about["classes"]
        self.notes = [Note.from_json(entry) for entry in about.get("notes", ())]
        # Maps stay open, since opening costs as much as a patch; 1024 files are a common limit.
        self._case = lru_cache(maxsize=200)(
            lambda name: StoredCase(self.folders[name], self.classes, name)
        )
        self._moments: dict[tuple[str, str], tuple[float, float]] = {}

    def __getitem__(self, name: str) -> StoredCase:
        self.row(name)
        return self._case(name)

    def row(self, name: str) -> dict[str, Any]:
        """Return what the index knows of a case, without opening it."""
        if name not in self.rows:
            raise StoreError(
                f"the store has no case {name}{did_you_mean(name, self.ids)}",
                file=self.path,
                remedy="`hilum inspect` and store.json name its cases",
            )
        return self.rows[name]

    def moments(self, name: str, of: str) -> tuple[float, float]:
        """Return mean and deviation of a case's modality, as `moments.moments` says.

        The volume is read once, when it is first asked for.
        """
        if (name, of) not in self._moments:
            case = self[name]
            row = case.modalities.index(of)
            self._moments[name, of] = moments(case.images, case.regions, row)
        return self._moments[name, of]

    def __iter__(self) -> Iterator[StoredCase]:
        return (self[name] for name in self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def __reduce__(self) -> tuple[type[CaseStore], tuple[Place]]:
        """Cross to a worker process as a path; maps are opened there."""
        return CaseStore, (self.place,)


def write_case(
    folder: Path,
    case: PreparedCase,
    nodes: list[dict[str, Any]],
    points: Foreground,
    storage: Storage = "npy",
) -> None:
    """Write one case whole or not at all."""
    hot, spot = hot_spots(case.images, case.modalities, case.label, case.grid.spacing, case.id)
    with atomic_folder(folder) as part:
        arrays = {n: getattr(case, n) for n in ("images", "regions", "label", "anatomy")}
        for name, array in arrays.items():
            if array is not None:
                write_array(part / f"{name}.{storage}", array)
        drawn = {} if case.raters is None else case.raters.write(part, storage)
        of_nodes = {name: getattr(points, name) for name in ("points", "node", "label")}
        np.savez(part / POINTS, **of_nodes, hot=hot, spot=spot)
        write_json(
            part / "case.json",
            {
                "version": VERSION,
                "storage": storage,
                "id": case.id,
                "patient": case.patient,
                "site": case.site,
                "split": case.split,
                "modalities": case.modalities,
                "labelled": case.label is not None,
                "factors": case.factors,
                "grid": case.grid.as_json(),
                "source_grid": case.source_grid.as_json(),
                "body_box": box_of((case.regions & 1).astype(bool)),
                "inputs": case.inputs,
                "scans": case.scans,
                "partial": case.partial,
                "annotated": case.annotated,
                **drawn,
                "notes": [note.as_json() for note in case.notes],
                "moved": case.moved,
                "nodes": nodes,
                "hot_spots": int(spot[-1]) + 1 if len(spot) else 0,
            },
        )
