"""A mean teacher: predictions for unlabelled patches must agree with those of averaged weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from hilum.core.geometry import IntTriple
from hilum.datasets.augmentation.paired import PairedAugmentation
from hilum.datasets.augmentation.settings import AugmentationSettings, Drawn
from hilum.datasets.batch import Batch
from hilum.segmenter.operating.probability import probability_of
from hilum.segmenter.segmenter import Segmenter
from hilum.training.ema import follow, rising

from .settings import TeacherSettings


class MeanTeacher:
    r"""Averaged weights that predict what a segmenter should say to a patch without a label. Final.

    Both see the same unlabelled patch, moved alike. The student sees the augmentation of the run
    with masked modalities; the teacher sees the patch with every modality and its intensities as
    they are. The loss is

    $$w \, e^{-5 (1 - t)^2} \operatorname{mean}_{v, c} (p_c - q_c)^2,$$

    over voxels of the body and classes, with $t$ rising from 0 to 1 over the ramp; of regions that
    may overlap $p$ and $q$ are the sigmoid of each. The teacher has no gradient. The share that it
    keeps of itself after a step is `training.ema.rising`.

    Not a module, so that neither optimiser nor averaged weights nor the best checkpoint hold it.

    Source:
        Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017,
        arXiv:1703.01780; the clean view as the teacher's is from FixMatch, arXiv:2001.07685.

    Args:
        segmenter: The student as it begins, prepared for training.
        settings: Of the teacher.
        augmentation: Of the run.
        patch: Sides of a patch in voxels.

    Attributes:
        network: The teacher, in evaluation mode.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        settings: TeacherSettings,
        augmentation: AugmentationSettings,
        patch: IntTriple,
    ) -> None:
        self.settings = settings
        self.network = copy.deepcopy(segmenter).eval().requires_grad_(False)
        names, spacing = segmenter.modalities, segmenter.config.spacing
        zscored = segmenter.config.zscored
        self.strong = PairedAugmentation(names, patch, spacing, augmentation, zscored)
        # Every operation takes its numbers whether it happens or not: both move alike.
        self.weak = PairedAugmentation(
            names, patch, spacing, without_intensity(augmentation), zscored
        )

    def loss(self, student: Segmenter, batch: Batch, progress: float) -> Tensor:
        """Return the weighted disagreement on a batch of unlabelled patches.

        Args:
            student: In training.
            batch: As it was read, not augmented.
            progress: Fraction of the run that is over.
        """
        ours, theirs = self.strong(batch), self.weak(batch)
        self.network.to(ours["image"].device)
        with torch.no_grad():
            taught = self.network(theirs["image"], theirs["available"])[0]
        said = student(ours["image"], ours["available"])[0]
        weight = self.settings.weight * rise(progress, self.settings.ramp)
        body = (ours["regions"] & 1).bool()
        return weight * disagreement(said, taught, body, bool(student.config.regions))

    def follow(self, student: Segmenter, step: int) -> None:
        """Move after an optimiser step of the student, the `step`-th."""
        self.network.to(next(student.parameters()).device)
        follow(self.network, student, rising(self.settings.decay, step))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights, for a checkpoint."""
        return self.network.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on with the weights of a checkpoint."""
        self.network.load_state_dict(state)


def disagreement(said: Tensor, taught: Tensor, where: Tensor, overlapping: bool = False) -> Tensor:
    """Return the mean squared difference of two predictions; 0 if there is nowhere to look.

    Args:
        said: Logits `[B, classes, D, H, W]`.
        taught: The same, of the teacher.
        where: Voxels that count, bool `[B, 1, D, H, W]`.
        overlapping: Whether the classes are regions: each then has its own probability, and the
            background, which is none of its own, counts nowhere.
    """
    with torch.autocast(said.device.type, enabled=False):
        # Selected before any arithmetic: nothing elsewhere reaches a gradient.
        zero = torch.zeros((), device=said.device)
        both = (torch.where(where, one.float(), zero) for one in (said, taught.detach()))
        ours, theirs = (probability_of(one, overlapping)[:, int(overlapping) :] for one in both)
        return (ours - theirs).square().sum() / (where.sum().clamp(min=1) * ours.shape[1])


def rise(progress: float, ramp: float) -> float:
    """Return the fraction of the full weight: an S-shaped rise over the first `ramp` of the run.

    Examples:
        >>> [round(rise(share, 0.5), 3) for share in (0.0, 0.25, 0.5, 1.0)]
        [0.007, 0.287, 1.0, 1.0]
    """
    t = min(progress / ramp, 1.0) if ramp else 1.0
    return math.exp(-5 * (1 - t) ** 2)


def without_intensity(settings: AugmentationSettings) -> AugmentationSettings:
    """Return settings that move patients as before, and change and hide nothing."""
    still: dict[str, object] = {"dropout": 0.0}
    for name in AugmentationSettings.model_fields:
        drawn = getattr(settings, name)
        if isinstance(drawn, Drawn) and name not in ("rotation", "scale"):
            still[name] = drawn.model_copy(update={"p": 0.0})
    return settings.model_copy(update=still)
