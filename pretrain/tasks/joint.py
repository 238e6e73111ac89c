"""Several pretext tasks on one encoder, their losses added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hilum.core.errors import SettingsError, did_you_mean
from hilum.core.geometry import IntTriple
from hilum.core.registry import build
from hilum.datasets.augmentation.settings import AugmentationSettings
from hilum.datasets.store.case_store import CaseStore
from hilum.encoders.base import Encoder
from hilum.encoders.networks import Output

from .. import TASKS
from ..base import PretextBatch, PretextTask


class Joint(PretextTask):
    r"""Learn by several tasks at once: the loss is $\sum_t w_t L_t$ over tasks of one encoder.

    Each task sees every batch as if it were alone, one after the other, so a step costs what theirs
    cost together. The first task that has a decoder gives the network folder: name
    `synthetic_nodes` before `masked_autoencoder` to get a network that segments.

    Source:
        Sums of pretext losses on one encoder are older than their names: Doersch and Zisserman,
        "Multi-task Self-Supervised Visual Learning", ICCV 2017, arXiv:1708.07860. There tasks have
        weights of their own layers; here weights are numbers.

    Args:
        encoder: Encoder with one input channel per modality.
        modalities: Name of each channel.
        spacing: mm per voxel, along depth, height, width.
        tasks: Parameters of each task by its name, in order.
        weights: Weight of a task, 1 if not named.
    """

    citation = (
        "Doersch, C. and Zisserman, A.",
        "Multi-task Self-Supervised Visual Learning",
        "ICCV",
        2017,
        "arXiv:1708.07860",
    )
    small: ClassVar = {
        "spacing": [4, 4, 4],
        "tasks": {
            "synthetic_nodes": {"nodes": 3, "decoys": 1, "short_mm": [4, 20]},
            "masked_autoencoder": {"block": 4},
        },
        "weights": {"masked_autoencoder": 0.5},
    }

    def __init__(
        self,
        *,
        encoder: Encoder,
        modalities: Sequence[str],
        spacing: Sequence[float],
        tasks: Mapping[str, Mapping[str, Any] | None],
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.weights = {name: float((weights or {}).get(name, 1.0)) for name in tasks}
        _check(tasks, weights or {})
        self.encoder = encoder
        context = {"modalities": tuple(modalities), "spacing": tuple(spacing)}
        self.names = tuple(tasks)
        self.tasks = nn.ModuleList(
            build(TASKS, {"name": name, **(params or {})}, encoder=encoder, **context)
            for name, params in tasks.items()
        )
        for name, task in self.each():
            if task.encoder is not encoder:
                raise SettingsError(
                    "joint tasks must train the encoder as it is",
                    found=f"{name} makes one of its own",
                    remedy=f"take {name} out of task.tasks",
                )
        self.views = max(task.views for _, task in self.each())
        self.least_batch = max(task.least_batch for _, task in self.each())
        decoders = [task for _, task in self.each() if task.outputs()]
        if decoders:
            self.decoder = decoders[0].get_submodule("decoder")

    def each(self) -> list[tuple[str, PretextTask]]:
        """Return name and task, in order."""
        both = zip(self.names, self.tasks, strict=True)
        return [(name, task) for name, task in both if isinstance(task, PretextTask)]

    def loss(self, batch: PretextBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum, and the terms of each task under its name."""
        total, named = torch.zeros((), device=batch.image.device), {}
        for name, task in self.each():
            loss, terms = task.loss(_for(task, batch))
            total = total + self.weights[name] * loss
            named |= {f"{name}_loss": loss.detach()}
            named |= {f"{name}_{key}": value for key, value in terms.items()}
        return total, named

    def pictures(self, batch: PretextBatch) -> dict[str, Tensor]:
        """Return the pictures of each task under its name."""
        return {
            f"{name} {key}": value
            for name, task in self.each()
            for key, value in task.pictures(_for(task, batch)).items()
        }

    def after_step(self, step: int, steps: int) -> None:
        """Let each task follow."""
        for _, task in self.each():
            task.after_step(step, steps)

    def passes(self) -> tuple[nn.Module, ...]:
        """Return the modules of all tasks, the shared ones once."""
        return tuple(dict.fromkeys(part for _, task in self.each() for part in task.passes()))

    def networks(self) -> dict[str, nn.Module]:
        """Return the further networks of all tasks; of two of one name the later has its task's."""
        found: dict[str, nn.Module] = {}
        for name, task in self.each():
            for key, network in task.networks().items():
                found[f"{name}_{key}" if key in found else key] = network
        return found

    def outputs(self) -> tuple[Output, ...]:
        """Return the outputs of the first task that has a decoder."""
        return next((found for _, task in self.each() if (found := task.outputs())), ())

    def check_patch(self, patch: IntTriple) -> None:
        """Refuse what any of the tasks refuses."""
        for _, task in self.each():
            task.check_patch(patch)

    def check_augmentation(self, given: AugmentationSettings) -> None:
        """Refuse what any of the tasks refuses."""
        for _, task in self.each():
            task.check_augmentation(given)

    def check_pool(self, store: CaseStore, cases: Sequence[str]) -> None:
        """Refuse what any of the tasks refuses."""
        for _, task in self.each():
            task.check_pool(store, cases)

    def pool_notes(self, store: CaseStore, cases: Sequence[str]) -> list[str]:
        """Return what any of the tasks says."""
        return [note for _, task in self.each() for note in task.pool_notes(store, cases)]


def _for(task: PretextTask, batch: PretextBatch) -> PretextBatch:
    """Return the batch with as many views as a task wants."""
    return batch._replace(others=batch.others[: task.views - 1])


def _check(tasks: Mapping[str, Any], weights: Mapping[str, float]) -> None:
    if len(tasks) < 2 or "joint" in tasks:
        raise SettingsError(
            "a joint task needs two other tasks or more",
            found=", ".join(tasks) or "none",
            remedy="give task.tasks={synthetic_nodes: {}, masked_autoencoder: {}}",
        )
    for name, weight in weights.items():
        if name not in tasks:
            raise SettingsError(
                f"a weight must be of one of the tasks{did_you_mean(name, tuple(tasks))}",
                found=name,
                remedy=f"name {', '.join(tasks)}",
            )
        if not 0 < weight < float("inf"):
            raise SettingsError(
                "a weight must be above 0",
                found=f"{name}: {weight}",
                remedy="or leave the task out",
            )
