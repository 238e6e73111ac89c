"""The case store: prepared cases on disk, from which a patch is one slice read.

`docs/data-model.md` lists the files. Arrays are memory maps that stay open (the operating system
shares their pages among workers), and a store pickles as its path alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from ..core.case import Case
from ..core.errors import StoreError, UserError, did_you_mean
from ..core.files import atomic_folder, hash_of, read_json, write_array, write_json
from ..core.geometry import Grid, IntTriple, Triple
from ..core.modality import modality
from ..core.seeds import numpy_generator
from ..core.types import IGNORE

VERSION = 1
AGAIN = "run `hilum prepare` again with the same output folder; complete cases are kept"
ENTRY = (
    *("id", "patient", "site", "split", "modalities", "labelled"),
    *("shape", "spacing", "classes", "key"),
)
OPEN_ARRAYS = 256  # each holds a file descriptor, and 1024 is a common limit of a process


class Foreground(NamedTuple):
    """Voxels of the nodes of a case, up to 1000 of each, so that no patch scans a label.

    Attributes:
        points: int16 `[N, 3]`, index of a voxel.
        node: int32 `[N]`, position of its node in `StoredCase.nodes`.
        label: uint8 `[N]`, its class.
    """

    points: np.ndarray
    node: np.ndarray
    label: np.ndarray


class Patch(NamedTuple):
    """A box cut from a case.

    Attributes:
        image: float16 `[M, d, h, w]`, physical units, one channel per asked modality.
        available: bool `[M]`, whether the case has it; the channel is fill where not.
        regions: uint8 `[d, h, w]`, bit 0 body, bit 1 + i field of view of asked modality i.
        label: uint8 `[d, h, w]`, or `None` for an unlabelled case.
    """

    image: np.ndarray
    available: np.ndarray
    regions: np.ndarray
    label: np.ndarray | None


class StoredCase:
    """One case of a store; nothing is read before it is asked for.

    Attributes:
        id: Name of the case and of its folder.
        patient: Whose scan it is.
        site: Centre or scanner; empty if unknown.
        split: `train`, `test` or empty, from the manifest.
        modalities: What the case has, in channel order of `images`.
        labelled: Whether it has a label.
        shape: Voxels along depth, height and width.
    """

    def __init__(self, folder: Path, entry: Mapping[str, Any]) -> None:
        self.folder = folder
        self.id: str = entry["id"]
        self.patient: str = entry["patient"]
        self.site: str = entry["site"]
        self.split: str = entry["split"]
        self.modalities: tuple[str, ...] = tuple(entry["modalities"])
        self.labelled: bool = entry["labelled"]
        d, h, w = entry["shape"]
        self.shape: IntTriple = (d, h, w)
        self._key: str = entry["key"]

    @cached_property
    def info(self) -> dict[str, Any]:
        """The content of `case.json`."""
        try:
            return read_json(self.folder / "case.json")
        except UserError as error:
            raise StoreError(
                error.rule, case=self.id, file=error.file, found=error.found, remedy=AGAIN
            ) from None

    @property
    def grid(self) -> Grid:
        """Where the voxels of this case lie."""
        return Grid.from_json(self.info["grid"])

    @property
    def source_grid(self) -> Grid:
        """The grid of the reference's file, on which a mask must land."""
        return Grid.from_json(self.info["source_grid"])

    @property
    def factors(self) -> dict[str, float]:
        """What each modality was divided by: 1 where the unit is absolute."""
        return self.info["factors"]

    @property
    def nodes(self) -> list[dict[str, Any]]:
        """`label`, `voxels`, `volume_ml` and `box` (first index, index past the last) of each node."""
        return self.info["nodes"]

    @property
    def images(self) -> np.ndarray:
        """float16 `[M, D, H, W]`, physical units, read-only."""
        return self._array("images", (len(self.modalities), *self.shape), np.float16)

    @property
    def regions(self) -> np.ndarray:
        """uint8 `[D, H, W]`, bit 0 body, bit 1 + i field of view of modality i, read-only."""
        return self._array("regions", self.shape, np.uint8)

    @property
    def label(self) -> np.ndarray | None:
        """uint8 `[D, H, W]`, read-only; `None` for an unlabelled case."""
        return self._array("label", self.shape, np.uint8) if self.labelled else None

    @cached_property
    def foreground(self) -> Foreground:
        """Voxels of every node; empty for an unlabelled case and for one without nodes."""
        if not self.labelled:
            return Foreground(np.empty((0, 3), "i2"), np.empty(0, "i4"), np.empty(0, "u1"))
        path = self.folder / "foreground.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                return Foreground(file["points"], file["node"], file["label"])
        except (OSError, ValueError, KeyError) as error:
            raise _damaged(self.id, path, error) from None

    def read(self, start: IntTriple, shape: IntTriple, modalities: tuple[str, ...]) -> Patch:
        """Cut a box, which may lie partly or wholly outside the case.

        Outside, the image is each modality's fill, and regions and label are 0. A modality that
        the case lacks is fill everywhere.

        Args:
            start: Index of the first voxel; may be negative.
            shape: Sides of the box in voxels.
            modalities: Channels of the result, in order.
        """
        inside = [
            (max(s, 0), max(min(s + n, side), max(s, 0)))
            for s, n, side in zip(start, shape, self.shape, strict=True)
        ]
        src = tuple(slice(a, b) for a, b in inside)
        dst = tuple(slice(a - s, b - s) for (a, b), s in zip(inside, start, strict=True))
        whole = tuple(b - a for a, b in inside) == tuple(shape)
        images = self.images
        image = np.empty((len(modalities), *shape), np.float16)
        available = np.array([name in self.modalities for name in modalities], bool)
        for channel, name in enumerate(modalities):
            if not (whole and available[channel]):
                image[channel] = modality(name).fill
            if available[channel]:
                image[channel][dst] = images[self.modalities.index(name)][src]
        regions = _cut(self.regions, shape, src, dst)
        bits = _reordered_bits(self.modalities, modalities)
        label = self.label
        return Patch(
            image,
            available,
            regions if bits is None else bits[regions],
            None if label is None else _cut(label, shape, src, dst),
        )

    def _array(self, name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        path = self.folder / f"{name}.npy"
        try:
            array = _open(str(path), self._key)
        except (OSError, ValueError) as error:
            raise _damaged(self.id, path, error) from None
        if array.shape != shape or array.dtype != dtype:
            raise _damaged(self.id, path, f"{array.dtype} {list(array.shape)}")
        return array


class CaseStore(Mapping[str, StoredCase]):
    """A folder of prepared cases; behaves like a dictionary from case id to `StoredCase`.

    Attributes:
        path: The folder.
        modalities: Every modality that some case has, in channel order.
        spacing: Depth, height, width in mm; the median where each case kept its own.
        classes: Number of classes with the background; 1 if no case is labelled.
        fingerprint: Changes when settings, inputs, patients or splits change.
        ids: The cases, in the order of the manifest.
        settings: The settings of `hilum prepare`, plain.

    Raises:
        StoreError: If the folder is no complete store of this version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / "store.json").exists():
            begun = any(self.path.glob("*/case.json"))
            raise StoreError(
                "a case store must be complete" if begun else "a case store must hold store.json",
                file=self.path,
                remedy=AGAIN if begun else "give the folder that `hilum prepare` wrote",
            )
        content = read_json(self.path / "store.json")
        if content.get("version") != VERSION:
            raise StoreError(
                f"the store must have version {VERSION}",
                file=self.path,
                found=content.get("version"),
                remedy="run `hilum prepare` again with the same output folder",
            )
        self.modalities: tuple[str, ...] = tuple(content["modalities"])
        d, h, w = content["spacing"]
        self.spacing: Triple = (d, h, w)
        self.classes: int = content["classes"]
        self.fingerprint: str = content["fingerprint"]
        self.settings: dict[str, Any] = content["settings"]
        self._entries: dict[str, dict[str, Any]] = {case["id"]: case for case in content["cases"]}
        self.ids: list[str] = list(self._entries)
        self._cases: dict[str, StoredCase] = {}

    def __getitem__(self, id: str) -> StoredCase:
        if id not in self._entries:
            raise StoreError(
                f"the store has no case {id!r}{did_you_mean(id, self.ids)}", file=self.path
            )
        if id not in self._cases:
            self._cases[id] = StoredCase(self.path / id, self._entries[id])
        return self._cases[id]

    def __contains__(self, id: object) -> bool:
        return id in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def __reduce__(self) -> tuple[type[CaseStore], tuple[Path]]:
        """Pickle as the path, so that a worker opens its own maps."""
        return CaseStore, (self.path,)


def write_case(
    folder: Path,
    case: Case,
    *,
    modalities: Sequence[str],
    images: np.ndarray,
    regions: np.ndarray,
    grid: Grid,
    label: np.ndarray | None = None,
    source_grid: Grid | None = None,
    factors: Mapping[str, float] | None = None,
    key: str = "",
    points: int = 1000,
    seed: int = 0,
    **more: object,
) -> dict[str, Any]:
    """Write one case, whole or not at all.

    Args:
        folder: The case's own folder, `store / case.id`; replaced if it exists.
        case: Gives id, patient, site and split.
        modalities: Channels of `images`.
        images: `[M, D, H, W]` in physical units; kept as float16.
        regions: uint8 `[D, H, W]`.
        grid: Where the voxels lie.
        label: uint8 `[D, H, W]`, or `None`.
        source_grid: Grid of the reference's file; `grid` if left out.
        factors: What each modality was divided by; 1 if left out.
        key: Hash of inputs and settings; of the images if left out.
        points: Most voxels to keep of each node.
        seed: Of the draw of these voxels.
        **more: Further entries of `case.json`.

    Returns:
        The case's line for `write_index`.
    """
    images = np.asarray(images, np.float16)
    rows, foreground = [], None
    if label is not None:
        label = np.asarray(label, np.uint8)
        generator = numpy_generator(seed, "foreground", case.id)
        rows, foreground = find_nodes(label, grid, points, generator)
    info: dict[str, Any] = {
        "version": VERSION,
        **{"id": case.id, "patient": case.patient, "site": case.site, "split": case.split},
        "modalities": list(modalities),
        "labelled": label is not None,
        "shape": list(grid.shape),
        "spacing": list(grid.spacing),
        "classes": 1 + max((row["label"] for row in rows), default=int(label is not None)),
        "key": key or hashlib.sha256(images.tobytes()).hexdigest()[:12],
        "factors": {name: 1.0 for name in modalities} | dict(factors or {}),
        "grid": grid.as_json(),
        "source_grid": (source_grid or grid).as_json(),
        **more,
        "nodes": rows,
    }
    with atomic_folder(folder) as part:
        write_array(part / "images.npy", images)
        write_array(part / "regions.npy", np.asarray(regions, np.uint8))
        if label is not None and foreground is not None:
            write_array(part / "label.npy", label)
            np.savez(part / "foreground.npz", allow_pickle=False, **foreground._asdict())
        write_json(part / "case.json", info)
    return {name: info[name] for name in ENTRY}


def write_index(
    path: Path,
    entries: Sequence[Mapping[str, Any]],
    modalities: Sequence[str],
    settings: Mapping[str, Any] | None = None,
) -> CaseStore:
    """Write `store.json`, which makes a folder of cases a store; always the last step.

    Args:
        path: Folder of the store.
        entries: What `write_case` returned, for each case.
        modalities: Channel order of the store.
        settings: Plain settings of the preparation.
    """
    settings = dict(settings or {})
    spacing = np.median([entry["spacing"] for entry in entries], axis=0)
    write_json(
        path / "store.json",
        {
            "version": VERSION,
            "modalities": list(modalities),
            "spacing": settings.get("spacing") or spacing.tolist(),
            "classes": max(entry["classes"] for entry in entries),
            "settings": settings,
            "fingerprint": hash_of([VERSION, settings, list(modalities), list(entries)]),
            "cases": list(entries),
        },
    )
    return CaseStore(path)


def find_nodes(
    label: np.ndarray, grid: Grid, points: int, generator: np.random.Generator
) -> tuple[list[dict[str, Any]], Foreground]:
    """Return the table of nodes and voxels drawn from each.

    A node is a connected part of one class; voxels that share a corner are connected. Unknown
    voxels (255) belong to no node.

    Args:
        label: uint8 `[D, H, W]`.
        grid: Gives the volume of a voxel.
        points: Most voxels to draw of each node.
        generator: Draws them.
    """
    known = np.where(label == IGNORE, 0, label)
    rows: list[dict[str, Any]] = []
    drawn: list[np.ndarray] = [np.empty((0, 3), int)]
    # Only the box around all nodes is labelled: a tenth of the time.
    for box in ndimage.find_objects(known > 0):
        for value in np.setdiff1d(known[box], [0]).tolist():
            parts, _ = ndimage.label(known[box] == value, np.ones((3, 3, 3)))
            for number, place in enumerate(ndimage.find_objects(parts), 1):
                start = np.array([a.start + b.start for a, b in zip(box, place, strict=True)])
                voxels = np.argwhere(parts[place] == number) + start
                sides = [s.stop - s.start for s in place]
                rows.append(
                    {
                        "label": value,
                        "voxels": len(voxels),
                        "volume_ml": len(voxels) * grid.voxel_ml,
                        "box": [start.tolist(), (start + sides).tolist()],
                    }
                )
                if len(voxels) > points:
                    voxels = voxels[np.sort(generator.choice(len(voxels), points, replace=False))]
                drawn.append(voxels)
    counts = [len(voxels) for voxels in drawn[1:]]
    return rows, Foreground(
        np.concatenate(drawn).astype(np.int16),
        np.repeat(np.arange(len(rows), dtype=np.int32), counts),
        np.repeat(np.array([row["label"] for row in rows], np.uint8), counts),
    )


@lru_cache(maxsize=OPEN_ARRAYS)
def _open(path: str, key: str) -> np.ndarray:
    """Map a file; `key` changes with its content, so a renewed case is not read from an old map."""
    return np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)


@lru_cache(maxsize=64)
def _reordered_bits(own: tuple[str, ...], asked: tuple[str, ...]) -> np.ndarray | None:
    """Return the table from regions of a case to those of a batch; `None` if nothing moves."""
    if own == asked:
        return None
    values = np.arange(256)
    table = values & 1
    for bit, name in enumerate(asked):
        if name in own:
            table |= (values >> (1 + own.index(name)) & 1) << (1 + bit)
    return table.astype(np.uint8)


def _cut(
    array: np.ndarray, shape: IntTriple, src: tuple[slice, ...], dst: tuple[slice, ...]
) -> np.ndarray:
    part = array[src]
    if part.shape == tuple(shape):
        return part.copy()
    padded = np.zeros(shape, array.dtype)
    padded[dst] = part
    return padded


def _damaged(case: str, path: Path, found: object) -> StoreError:
    return StoreError("the store must be whole", case=case, file=path, found=found, remedy=AGAIN)
