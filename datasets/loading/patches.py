"""Random patches of paired scans: item `i` is a pure function of the seed and of `i`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch.utils.data import Dataset

from hilum.core.errors import DataError, SettingsError, UserError
from hilum.core.geometry import IntTriple
from hilum.core.seeds import derive, numpy_generator
from hilum.core.types import IGNORE

from ..augmentation.paired import PairedAugmentation
from ..augmentation.plan import Plan
from ..batch import Sample
from ..store.case_store import CaseStore, StoredCase
from ..store.organs import with_organs
from ..store.raters import is_soft, mixed_label, targets_of
from .node_copies import Copy, NodeCopies, paste
from .settings import PatchSettings
from .sources import Source, sources


class PatchDataset(Dataset[Sample]):
    """Patches on nodes, on uptake that is no node, and anywhere in the body.

    A fraction of `foreground` of the items lies on nodes, and a fraction of `hard` on uptake
    outside of the label, each spread evenly over the items (systematic sampling), so a batch of two
    at 0.5 always holds one on a node. Cases come in shuffled rounds, so each is seen equally often.
    Within a case every node is equally likely, whatever its size, then each of its stored voxels;
    so is every spot of uptake, be it a bladder or a piece of brown fat.

    The patch stays inside the volume where it fits, which never pushes the node out; along a
    shorter axis it is centred and padded. A case without nodes serves for background only.
    """

    def __init__(
        self,
        store: CaseStore,
        ids: Sequence[str],
        settings: PatchSettings,
        length: int,
        seed: int,
        *,
        box: IntTriple | None = None,
        augmentation: PairedAugmentation | None = None,
        augment: bool = True,
    ) -> None:
        """Choose what to draw from.

        Args:
            store: Where the cases are.
            ids: Cases to draw from.
            settings: Which patches.
            length: Number of items.
            seed: Seed of every draw.
            box: Sides that are read around each patch, for an augmentation that comes later; those
                of the patch if not given.
            augmentation: Changes each patch while it is read: what will happen is drawn first, and
                only the box that it needs is read. Items are then ready for the network.
            augment: Whether `augmentation` changes anything at random, or encodes only.
        """
        self.store, self.ids, self.settings = store, tuple(ids), settings
        self.length, self.seed, self.box = length, seed, box or settings.sides
        self.modalities = settings.modalities or tuple(store.modalities)
        self.augmentation, self.augment = augmentation, augment
        self._check_settings()
        self._check_cases()
        # Worked out once for each group of cases; a plain dictionary, since workers are sent it.
        self._sources: dict[tuple[str, ...], list[Source]] = {}
        self.foreground = settings.foreground if settings.labelled else 0.0
        self.with_nodes = self._having("nodes") if self.foreground > 0 else ()
        self.with_uptake = self._having("hot_spots") if settings.labelled and settings.hard else ()
        self.some = settings.labelled and bool(self._having("annotated"))
        self.soft = settings.labelled and settings.soft and bool(self._having("soft"))
        self.copies = (
            NodeCopies(store, self.ids, self.modalities, settings.copies)
            if settings.copies is not None and settings.copies.p and settings.labelled
            else None
        )
        # Where in its cycle the systematic sampling starts.
        self._phase = float(numpy_generator(seed, "phase").random())

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.length:
            raise IndexError(index)
        generator = numpy_generator(self.seed, "patch", index)
        name, kind = self._case_of(index)
        try:
            case = self.store[name]
            return self._read(case, self._centre(case, kind, generator), index)
        except UserError:
            raise
        except Exception as error:
            raise DataError(
                "the prepared case must be readable",
                case=name,
                file=self.store.folders[name],
                found=f"{type(error).__name__}: {error}",
                remedy=f"run `hilum prepare` again, or leave it out: split.leave_out=[{name}]",
            ) from error

    def _having(self, what: str) -> tuple[str, ...]:
        return tuple(name for name in self.ids if self.store.rows[name].get(what))

    def _case_of(self, index: int) -> tuple[str, str]:
        """Return the case of an item, and what the item lies on: `node`, `uptake` or `body`."""
        on_node, rank = _turn(index, self.foreground if self.with_nodes else 0.0, self._phase)
        if on_node:
            return self._pick("node", self.with_nodes, rank), "node"
        rest = 1 - self.foreground if self.with_nodes else 1.0
        share = self.settings.hard / rest if self.with_uptake else 0.0
        on_uptake, rank = _turn(rank, share, self._phase)
        if on_uptake:
            return self._pick("uptake", self.with_uptake, rank), "uptake"
        return self._pick("body", self.ids, rank), "body"

    def _pick(self, kind: str, cases: tuple[str, ...], rank: int) -> str:
        stream = f"{kind} rounds"
        if cases not in self._sources:
            self._sources[cases] = sources(self.store, self.settings.weights, cases)
        for source, share, own in self._sources[cases]:
            taken, rank = _turn(rank, share, self._phase)
            if taken:
                stream, cases = f"{stream} {source}", own
                break
        turn, place = divmod(rank, len(cases))
        return cases[int(_round(self.seed, stream, turn, len(cases))[place])]

    def _centre(self, case: StoredCase, kind: str, generator: np.random.Generator) -> np.ndarray:
        if kind == "body":
            return self._in_body(case, generator)
        points, number = case.foreground[:2] if kind == "node" else case.hot
        return self._near(points, number, generator)

    def _near(
        self, points: np.ndarray, number: np.ndarray, generator: np.random.Generator
    ) -> np.ndarray:
        """Return the centre of a patch that holds a voxel of a node or a spot of uptake."""
        # The voxels of each lie together, one after the other.
        one = generator.integers(int(number[-1]) + 1)
        first, end = np.searchsorted(number, (one, one + 1))
        point = points[generator.integers(first, end)]
        sides = np.array(self.settings.sides)
        reach = np.minimum(np.floor(self.settings.jitter * sides), (sides - 1) // 2).astype(int)
        return point.astype(int) + generator.integers(-reach, reach + 1)

    def _in_body(self, case: StoredCase, generator: np.random.Generator) -> np.ndarray:
        start, stop = case.body_box
        return generator.integers(start, np.maximum(stop, start + 1))

    def _read(self, case: StoredCase, centre: np.ndarray, index: int) -> Sample:
        patch = self.settings.sides
        start = _start(centre, patch, case.grid.shape)
        seed = derive(self.seed, "augment", index)
        # Drawn in the patch as it lies in the case, whatever box an augmentation reads of it.
        copy = None
        if self.copies is not None:
            generator = numpy_generator(self.seed, "copy", index)
            copy = self.copies.draw(case, start, patch, generator)
        if self.augmentation is None:
            start -= (np.array(self.box) - patch) // 2
            return self._sample(case, start, self.box, seed, copy)
        have = [name in case.modalities for name in self.modalities]
        plan = self.augmentation.plan(seed, have) if self.augment else Plan()
        low, sides = self.augmentation.box(plan)
        return self.augmentation.one(self._sample(case, start + low, sides, seed, copy), plan, low)

    def _sample(
        self,
        case: StoredCase,
        start: np.ndarray,
        sides: IntTriple,
        seed: int,
        copy: Copy | None = None,
    ) -> Sample:
        """Read a box as it is stored, and paste what is drawn."""
        patch = case.read(start.tolist(), sides, self.modalities)
        if self.soft and is_soft(case) and patch.label is not None:
            patch = patch._replace(label=mixed_label(case, start.tolist(), sides))
        if copy is not None:
            paste(patch, start.tolist(), copy)
        sample: Sample = {
            "image": torch.from_numpy(patch.image),
            "available": torch.from_numpy(patch.available),
            "regions": torch.from_numpy(patch.regions)[None],
            "case": case.id,
            "seed": seed,
        }
        if self.settings.zscored:
            sample["moments"] = self._moments(case)
        if self.some:
            sample["annotated"] = self._annotated(case)
        if self.soft:
            table = targets_of(case, max(self.store.classes, 2))
            sample["targets"] = torch.from_numpy(table)
        if self.settings.labelled:
            label = patch.label
            if label is None:
                label = np.full(sides, IGNORE, np.uint8)
            if self.settings.organs:
                first = max(self.store.classes, 2)
                label = with_organs(label, case, start.tolist(), self.settings.organs, first)
            sample["label"] = torch.from_numpy(label)[None]
        return sample

    def _annotated(self, case: StoredCase) -> torch.Tensor:
        """Return whether each class was looked for, the background included."""
        classes = range(max(self.store.classes, 2))
        return torch.tensor([not case.annotated or c == 0 or c in case.annotated for c in classes])

    def _moments(self, case: StoredCase) -> torch.Tensor:
        """Return mean and deviation of each channel's whole volume; 0 and 1 where not needed."""
        wanted = set(self.settings.zscored) & set(case.modalities)
        pairs = [self.store.moments(case.id, n) if n in wanted else (0, 1) for n in self.modalities]
        return torch.tensor(pairs, dtype=torch.float32)

    def _check_settings(self) -> None:
        if len(self.modalities) > 7:
            raise SettingsError(
                "at most 7 modalities fit the regions' bits", remedy="name fewer modalities"
            )
        patch = self.settings.sides
        if any(i > s for i, s in zip(patch, self.box, strict=True)):
            raise SettingsError(
                "the patch must fit into the box that is read",
                found=f"{patch} in {self.box}",
                remedy="read a larger box",
            )
        if self.augmentation is not None and self.augmentation.patch != patch:
            raise SettingsError(
                "the augmentation must be for patches of the same sides",
                found=f"{self.augmentation.patch} for {patch}",
                remedy="make it with the sides of the patches",
            )
        if self.length < 0:
            raise SettingsError(
                "the length must not be negative",
                found=self.length,
                remedy="give the number of patches of an epoch",
            )

    def _check_cases(self) -> None:
        if not self.ids:
            raise DataError(
                "patches need at least one case",
                file=self.store.path,
                remedy="give ids of the store, or none for all",
            )
        # From the index alone: opening ten thousand cases would take longer than an epoch.
        rows = [self.store.row(name) for name in self.ids]
        if self.settings.labelled and not any(row["labelled"] for row in rows):
            raise DataError(
                "labelled patches need at least one labelled case",
                file=self.store.path,
                found=f"none among {len(rows)}",
                remedy="add labels and prepare again, or ask for patches without labels",
            )
        for row in rows:
            if not set(self.modalities) & set(row["modalities"]):
                raise DataError(
                    f"a case must have one of {', '.join(self.modalities)}",
                    case=row["id"],
                    found=", ".join(row["modalities"]),
                    remedy="leave the case out, or add its modality",
                )


def _turn(index: int, share: float, phase: float) -> tuple[bool, int]:
    """Return whether an item is of a kind with this share, and its rank among those alike."""
    before = int(np.floor(index * share + phase))
    if int(np.floor((index + 1) * share + phase)) > before:
        return True, before
    return False, index - before


@lru_cache(maxsize=8)
def _round(seed: int, kind: str, turn: int, count: int) -> np.ndarray:
    """Return the order of the cases in one round; drawn once, however large the cohort."""
    return numpy_generator(seed, kind, turn).permutation(count)


def _start(centre: np.ndarray, sides: IntTriple, limits: IntTriple) -> np.ndarray:
    """Return where a box around `centre` begins, moved inside the volume where it fits."""
    start = centre - np.array(sides) // 2
    room = np.array(limits) - sides
    return np.where(room < 0, room // 2, np.clip(start, 0, np.maximum(room, 0)))
