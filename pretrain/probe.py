"""An online probe: how well frozen features tell labelled voxels apart while pretraining runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from hilum.core.errors import DataError
from hilum.core.seeds import numpy_generator, torch_generator
from hilum.core.types import IGNORE
from hilum.datasets.augmentation.paired import PairedAugmentation
from hilum.datasets.batch import Batch, collate
from hilum.datasets.loading.patches import PatchDataset
from hilum.datasets.loading.settings import PatchSettings
from hilum.datasets.splits import SplitSettings, make_split
from hilum.datasets.store.case_store import CaseStore
from hilum.training.fsdp import gathered

from .parts.linear_probe import best_cut, fit_ridge, hypercolumns, nearest, score_maps
from .settings import ProbeSettings


class ProbeCases(NamedTuple):
    """Cases of the patients that a linear map is fitted to, and of those that measure it."""

    fit: tuple[str, ...]
    measure: tuple[str, ...]


class VoxelProbe(pl.Callback):
    """Fits a linear map to frozen features of some labelled patches, and measures it on others.

    Logged every `every` validations:

    - `probe/dice`: Dice of the linear map on whole patches of other patients, cut where it is best
      on the patches that it was fitted to; the mean over the classes (each as
      `probe/dice/class_<n>` if there are several).
    - `probe/knn_accuracy`: fraction of voxels, each class counting the same, that their nearest
      neighbours among the fitted voxels name right; at random it is one over the classes.

    Patches and voxels are the same each time. Nothing flows back into the encoder, but who picks
    the steps of a pretraining by it has used these labels.

    Args:
        store: Where the cases are.
        cases: Of `probe_cases`.
        augmentation: Of the run; used to encode only.
        settings: How often, and how much.
        validate_every: Steps between validations.
        steps: Of the whole run; the last validation always probes.
        seed: Seed of the patches and voxels.
    """

    def __init__(
        self,
        store: CaseStore,
        cases: ProbeCases,
        augmentation: PairedAugmentation,
        settings: ProbeSettings,
        *,
        validate_every: int,
        steps: int,
        seed: int,
    ) -> None:
        self.store, self.cases, self.augmentation = store, cases, augmentation
        self.settings, self.validate_every = settings, validate_every
        self.steps, self.seed = steps, seed

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Probe if it is time."""
        step = int(trainer.global_step)
        due = (step // self.validate_every) % self.settings.every == 0
        if due or step >= self.steps:
            with gathered(pl_module):
                values: dict[str, Any] = dict(self.measure(pl_module.get_submodule("task.encoder")))
            pl_module.log_dict(values)

    @torch.no_grad()
    def measure(self, encoder: nn.Module) -> dict[str, float]:
        """Return what to log for the encoder as it is; its mode is not changed."""
        fitted = [self._sample(encoder, *x) for x in enumerate(self._patches("fit"))]
        columns, classes = (torch.cat(parts) for parts in zip(*fitted, strict=True))
        head = fit_ridge(columns, classes, self.store.classes, self.settings.ridge)
        cuts = self._cuts(encoder, head)
        tried = [self._sample(encoder, *x) for x in enumerate(self._patches("measure"))]
        queries, truth = (torch.cat(parts) for parts in zip(*tried, strict=True))
        named = nearest(columns, classes, queries, self.store.classes, self.settings.neighbours)
        right = [(named == c)[truth == c].float().mean() for c in truth.unique()]
        found = {"probe/knn_accuracy": float(torch.stack(right).mean())}
        return found | self._dice(encoder, head, cuts)

    def _patches(self, part: str) -> Iterator[Batch]:
        """Give the fixed patches of a part, one at a time, on the network's scale."""
        ids: Sequence[str] = getattr(self.cases, part)
        augmentation = self.augmentation
        dataset = PatchDataset(
            self.store,
            ids,
            PatchSettings(augmentation.patch, augmentation.modalities),
            self.settings.patches,
            self.seed,
        )
        for index in range(len(dataset)):
            yield augmentation(collate([dataset[index]]), False)

    def _pyramid(self, encoder: nn.Module, batch: Batch) -> list[Tensor]:
        device = next(encoder.parameters()).device
        return [level.float() for level in encoder(batch["image"].to(device))]

    def _sample(self, encoder: nn.Module, number: int, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return hypercolumns `[N, C]` and classes `[N]` of some voxels of a patch, on the CPU."""
        label, known = _truth(batch)
        generator = torch_generator(self.seed, "probe", number)
        chosen = []
        for value in range(self.store.classes):
            places = (known & (label == value)).nonzero()
            order = torch.randperm(len(places), generator=generator)[: self.settings.voxels]
            chosen.append(places[order])
        places = torch.cat(chosen)
        columns = hypercolumns(self._pyramid(encoder, batch), places, list(label.shape))
        return columns.cpu(), label[tuple(places.T)].long()

    def _scores(
        self, encoder: nn.Module, head: Tensor, part: str
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Give, per patch, the scores `[classes, N]` and the classes `[N]` of its known voxels."""
        for batch in self._patches(part):
            label, known = _truth(batch)
            scores = score_maps(self._pyramid(encoder, batch), head, list(label.shape)).cpu()
            yield scores[:, known], label[known]

    def _cuts(self, encoder: nn.Module, head: Tensor) -> list[float]:
        """Return for each class of nodes the score above which its Dice is best."""
        parts = list(self._scores(encoder, head, "fit"))
        scores, label = torch.cat([s for s, _ in parts], 1), torch.cat([x for _, x in parts])
        return [best_cut(scores[c], label == c) for c in range(1, self.store.classes)]

    def _dice(self, encoder: nn.Module, head: Tensor, cuts: Sequence[float]) -> dict[str, float]:
        overlap, size = np.zeros(len(cuts)), np.zeros(len(cuts))
        there = np.zeros(len(cuts))
        for scores, label in self._scores(encoder, head, "measure"):
            for number, cut in enumerate(cuts):
                found, truth = scores[number + 1] > cut, label == number + 1
                overlap[number] += 2 * int((found & truth).sum())
                size[number] += int(found.sum()) + int(truth.sum())
                there[number] += int(truth.sum())
        each = {c + 1: overlap[c] / size[c] for c in range(len(cuts)) if there[c]}
        if not each:
            return {}
        named = {f"probe/dice/class_{c}": float(value) for c, value in each.items()}
        return {"probe/dice": float(np.mean(list(each.values())))} | (
            named if len(cuts) > 1 else {}
        )


def probe_cases(
    store: CaseStore, split: SplitSettings, names: Sequence[str], settings: ProbeSettings, seed: int
) -> ProbeCases:
    """Return the cases to probe on: labelled ones that the split lets a training see, with nodes.

    With `split.labels` set, these are among the labelled patients of that draw and those of
    `split.validation`, so that a study of few labels sees no more labels than it says. Test
    patients are never among them. Patients are not shared between the two parts.

    Raises:
        DataError: If fewer than two such patients are there.
    """
    parts = make_split(store, split)
    usable = [
        name
        for name in (*parts.train, *parts.validation)
        if store.rows[name]["labelled"]
        and store.rows[name].get("nodes")
        and set(names) & set(store.rows[name]["modalities"])
    ]
    patients = sorted({store.rows[name]["patient"] for name in usable})
    if len(patients) < 2:
        raise DataError(
            "the probe needs two labelled patients with nodes that do not test",
            file=store.path,
            found=f"{len(patients)}",
            remedy="set probe.every to 0, or raise split.labels",
        )
    order = numpy_generator(seed, "probe patients").permutation(len(patients))
    chosen = [patients[i] for i in order[: settings.patients]]
    half = (len(chosen) + 1) // 2

    def of(some: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in usable if store.rows[name]["patient"] in some)

    return ProbeCases(of(chosen[:half]), of(chosen[half:]))


def _truth(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the classes of a patch, and where they are known inside the body."""
    assert "label" in batch
    label = batch["label"][0, 0]
    return label, (label != IGNORE) & (batch["regions"][0, 0] & 1).bool()
