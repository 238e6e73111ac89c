"""Does the encoder still tell things apart? Rank, spread and entropy, with an alarm on collapse."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from hilum.core.errors import DataError
from hilum.datasets.batch import Batch
from hilum.training.guard import keep_batch

from .base import PretextBatch, PretextTask
from .settings import MonitorSettings

LOG = logging.getLogger("hilum.pretrain")


class Monitors:
    r"""Watches the coarsest features of the fixed validation patches.

    Logged at each validation:

    - `monitor/rank`: effective rank of the features pooled over each patch; at most the number of
      validation patches, so compare it along one run only.
    - `monitor/voxel_rank`: the same of single voxels inside the body, some of each patch.
    - `monitor/feature_std`: spread of these on the unit sphere; 1 if they point everywhere, 0 if
      all point to one place.
    - `monitor/teacher_entropy`: of tasks with a teacher that assigns prototypes, as a fraction of
      the largest: near 1 it says nothing, near 0 always the same.

    An alarm is given once when a value leaves its range, and again if it comes back and leaves
    again. The first patches are kept as `replay/collapse-step-<n>.safetensors`, cases included.

    Args:
        settings: Ranges, and what an alarm does.
        replay: Folder of the kept patches; `None` keeps none.
    """

    def __init__(self, settings: MonitorSettings, replay: Path | None = None) -> None:
        self.settings, self.replay = settings, replay
        self._alarmed: frozenset[str] = frozenset()
        self.begin()

    def begin(self) -> None:
        """Forget the features of an earlier or interrupted validation."""
        self._pooled: list[Tensor] = []
        self._voxels: list[Tensor] = []
        self._entropy: list[Tensor] = []
        self._first: Batch | None = None

    @torch.no_grad()
    def add(
        self, task: PretextTask, view: PretextBatch, terms: Mapping[str, Tensor], batch: Batch
    ) -> None:
        """Take in a validation batch.

        Args:
            task: Has the encoder.
            view: What the task saw; the encoder sees it whole, with nothing hidden.
            terms: What its loss named.
            batch: As it came from the loader, to be kept if there is an alarm.
        """
        coarse = task.encoder(view.image)[-1].float()
        self._pooled.append(coarse.mean((2, 3, 4)))
        self._voxels.append(inner_voxels(coarse, view.body, self.settings.voxels))
        if "teacher_entropy" in terms:
            self._entropy.append(terms["teacher_entropy"].float())
        if self._first is None:
            self._first = batch

    def end(self, step: int) -> dict[str, float]:
        """Return what to log after a validation, and give alarm.

        Raises:
            DataError: On a collapse, if the settings ask for a stop.
        """
        if not self._pooled:
            return {}
        voxels = torch.cat(self._voxels)
        found = {"monitor/rank": rank_me(torch.cat(self._pooled))}
        if len(voxels) > 1:
            found["monitor/voxel_rank"] = rank_me(voxels)
            found["monitor/feature_std"] = spread(voxels)
        if self._entropy:
            found["monitor/teacher_entropy"] = float(torch.stack(self._entropy).mean())
        self._alarm(step, found)
        self.begin()
        return found

    def _alarm(self, step: int, found: Mapping[str, float]) -> None:
        least, most = self.settings.entropy
        ranges = {
            "monitor/voxel_rank": (self.settings.least_rank, math.inf),
            "monitor/feature_std": (self.settings.least_std, math.inf),
            "monitor/teacher_entropy": (least, most),
        }
        wrong = {
            name: value
            for name, value in found.items()
            # Not `<`: NaN is wrong, too.
            if name in ranges and not ranges[name][0] <= value <= ranges[name][1]
        }
        new, self._alarmed = set(wrong) - self._alarmed, frozenset(wrong)
        if not new:
            return
        cases: list[str] = [] if self._first is None else list(self._first["case"])
        kept = ""
        if self.replay is not None:
            file = self.replay / f"collapse-step-{step:06d}.safetensors"
            keep_batch(file, self._first)
            kept = f"; the patches are kept as {file}"
        named = ", ".join(f"{name} {wrong[name]:.3g}" for name in sorted(new))
        error = DataError(
            f"the features of step {step} must not collapse",
            case=", ".join(dict.fromkeys(cases)) or None,
            found=named + kept,
            remedy="lower trainer.learning_rate, enlarge the batch, or choose another task",
        )
        if self.settings.stop:
            raise error
        LOG.warning("%s", error)


def inner_voxels(coarse: Tensor, body: Tensor, most: int) -> Tensor:
    """Return features `[N, C]` of voxels that touch the body, at most `most` of each sample.

    Args:
        coarse: Features `[B, C, d, h, w]`.
        body: Booleans `[B, 1, D, H, W]`.
        most: Evenly spaced ones are taken if there are more.
    """
    sides = (coarse.shape[2], coarse.shape[3], coarse.shape[4])
    inner = F.adaptive_max_pool3d(body.float(), sides)[:, 0] > 0
    rows = []
    for features, where in zip(coarse, inner, strict=True):
        inside = features[:, where].T
        step = max(math.ceil(len(inside) / most), 1)
        rows.append(inside[::step])
    return torch.cat(rows)


def rank_me(features: Tensor) -> float:
    r"""Return the effective rank of `[N, C]`, between 1 and `min(N, C)`.

    $$\exp\Bigl(-\sum_k p_k \log p_k\Bigr), \quad p_k = \sigma_k / \lVert \sigma \rVert_1,$$

    with $\sigma$ the singular values. Not centred, so features that are all alike have rank 1. NaN
    if a feature is not finite; 1 if all are 0.

    Source:
        Garrido et al., "RankMe", ICML 2023, arXiv:2210.02885, equations 1 and 2, without the small
        constant that is added to p there.
    """
    if not bool(torch.isfinite(features).all()):
        return math.nan
    values = torch.linalg.svdvals(features.double().cpu())
    share = values / values.sum().clamp(min=1e-300)
    return float(torch.exp(-torch.special.xlogy(share, share).sum()))


def spread(features: Tensor) -> float:
    """Return the mean standard deviation of `[N, C]` on the unit sphere, times the root of C.

    Source:
        Chen and He, "SimSiam", CVPR 2021, arXiv:2011.10566, section 4.1.
    """
    unit = F.normalize(features.float(), dim=1)
    return float(unit.std(0).mean() * math.sqrt(features.shape[1]))
