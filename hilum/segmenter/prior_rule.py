"""Begin as a learning-free rule: uptake above a limit is foreground; the network corrects it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from hilum.core.errors import SettingsError, did_you_mean
from hilum.core.modality import Unit, modality
from hilum.core.settings import Settings
from hilum.core.types import Available, Volume
from hilum.encoders.decoders.base import Decoder, prior_odds

LIMIT = 2.0
"""SUV from which on a voxel begins as foreground, where no labelled patient chose it."""


class PriorRuleSettings(Settings):
    """The rule that a segmenter begins as: `slope * (log(1 + SUV) - log(1 + limit))`."""

    limit: float | Literal["auto"] = Field(
        "auto",
        description="SUV at which a voxel begins as likely as not; auto: the limit of the highest "
        "Dice on the training patients",
    )
    slope: float = Field(4.5, gt=0, description="logit per unit of log(1 + SUV)")
    learned: bool = Field(True, description="whether limit and slope train with the network")
    classes: tuple[str, ...] = Field(
        (), description="names of the classes that begin as the rule; empty: all"
    )
    soft_tissue: tuple[float, float] | None = Field(
        None,
        description="HU between which uptake counts, as in [-100, 150], where there is a CT; "
        "empty: everywhere",
    )

    @model_validator(mode="after")
    def _in_order(self) -> PriorRuleSettings:
        if not isinstance(self.limit, str) and not self.limit > 0:
            raise ValueError(f"limit must be an SUV above 0, or auto: {self.limit:g}")
        if self.soft_tissue is not None and not self.soft_tissue[0] < self.soft_tissue[1]:
            raise ValueError(f"soft_tissue must rise: {list(self.soft_tissue)}")
        return self


class PriorRule(nn.Module):
    r"""Adds the rule's logits to those of a network. Final.

    $$z_c = f_c + a_c \bigl(\log(1 + \mathrm{SUV}) - t_c\bigr)$$

    for the classes of the rule, at a coarser level with the mean of $\log(1 + \mathrm{SUV})$ over
    its voxels. Where a case has no PET, and for all other classes, the logit is that of the prior
    instead, where heads begin without a rule. Outside of the soft tissue uptake counts as none.

    Source:
        Ours; a residual to a fixed predictor, as in boosting from a prior model.

    Args:
        settings: Of the rule.
        modalities: Channels of the image.
        zscored: Those among them that have no fixed scale.
        names: Of the classes but the background.
        prior: Expected fraction of each class.

    Attributes:
        limit: $t_c$ of each class, in log(1 + SUV).
        slope: $a_c$ of each class.

    Raises:
        SettingsError: If there is no SUV on a fixed scale, no CT for the condition, or no class of
            a name.
    """

    limit: Tensor
    slope: Tensor
    ruled: Tensor

    def __init__(
        self,
        settings: PriorRuleSettings,
        modalities: Sequence[str],
        zscored: Sequence[str],
        names: Sequence[str],
        prior: float,
    ) -> None:
        super().__init__()
        for name in settings.classes:
            if name not in names:
                raise SettingsError(
                    f"prior_rule.classes must name classes{did_you_mean(name, names)}",
                    found=name,
                    remedy=f"name {', '.join(names)}",
                )
        self.pet = _channel(modalities, zscored, "SUV")
        self.ct, self.window = None, (0.0, 0.0)
        if settings.soft_tissue is not None:
            self.ct = _channel(modalities, zscored, "HU")
            self.window = _encoded(modalities[self.ct], settings.soft_tissue)
        self.uptake = modality(modalities[self.pet])
        ruled = [not settings.classes or name in settings.classes for name in names]
        self.register_buffer("ruled", torch.tensor(ruled), persistent=False)
        self.odds = prior_odds(prior, len(names) + 1)
        start = LIMIT if isinstance(settings.limit, str) else settings.limit
        values = {"limit": math.log1p(start), "slope": settings.slope}
        for name, value in values.items():
            one = torch.full((len(names),), value)
            if settings.learned:
                self.register_parameter(name, nn.Parameter(one))
            else:
                self.register_buffer(name, one)

    def forward(
        self, levels: Sequence[Tensor], image: Volume, available: Available
    ) -> list[Tensor]:
        """Return the logits of each level with the rule's added.

        Args:
            levels: `[B, outputs, d, h, w]`; outputs behind the classes stay as they are.
            image: As the network sees it, `[B, M, D, H, W]`.
            available: `[B, M]`; what an absent modality holds does not matter.
        """
        there = available[:, self.pet].view(-1, 1, 1, 1, 1)
        uptake = self.uptake_seen(image, available)
        return [level + self._logits(uptake, there, level) for level in levels]

    def uptake_seen(self, image: Volume, available: Available) -> Tensor:
        """Return log(1 + SUV), 0 where it does not count, `[B, 1, D, H, W]`."""
        seen = available[:, self.pet].view(-1, 1, 1, 1, 1)
        if self.ct is not None:
            ct, (low, high) = image[:, self.ct : self.ct + 1], self.window
            inside = (ct >= low) & (ct <= high)
            seen = seen & (inside | ~available[:, self.ct].view(-1, 1, 1, 1, 1))
        pet = image[:, self.pet : self.pet + 1]
        # Blanked before anything is computed: NaN times 0 would reach the gradients.
        pet = torch.where(seen, pet, torch.zeros_like(pet))
        return self.uptake.decode(pet).clamp_min(0).log1p() * seen

    def take(self, other: PriorRule, pairs: Mapping[int, int]) -> None:
        """Go on from the limits and slopes of another rule, by class.

        Args:
            other: Of the pretrained segmenter.
            pairs: Its channel for each of ours, the background being 0.
        """
        with torch.no_grad():
            for ours, theirs in pairs.items():
                if 0 < ours <= len(self.limit) and 0 < theirs <= len(other.limit):
                    self.limit[ours - 1] = other.limit[theirs - 1]
                    self.slope[ours - 1] = other.slope[theirs - 1]

    def words(self) -> str:
        """Return the limits in words."""
        own = [f"{value:.3g}" for value in self.limit.detach()[self.ruled].expm1().tolist()]
        return f"SUV above {', '.join(own)}"

    def _logits(self, uptake: Tensor, there: Tensor, level: Tensor) -> Tensor:
        """Return what is added to a level: 0 for the background and what follows the classes."""
        sides = level.shape[2:]
        if uptake.shape[2:] != sides:
            uptake = F.adaptive_avg_pool3d(uptake, (sides[0], sides[1], sides[2]))
        shape = (1, -1, 1, 1, 1)
        logits = self.slope.view(shape) * (uptake - self.limit.view(shape))
        logits = torch.where(
            there & self.ruled.view(shape), logits, torch.full_like(logits, self.odds)
        )
        more = level.shape[1] - logits.shape[1] - 1
        return F.pad(logits, (0, 0, 0, 0, 0, 0, 1, more))


def start_at_zero(decoders: Iterable[Decoder], classes: int, prior: float) -> None:
    """Set heads to zero, so that what is added to them is the prediction.

    Outputs behind the classes (organs) start at their prior, and the background as much lower that
    all that counts as background together is at zero.
    """
    with torch.no_grad():
        for decoder in decoders:
            for level in decoder.head_rows():
                for value in level.values():
                    value.zero_()
                    more = len(value) - classes
                    if value.ndim == 1 and more > 0:
                        value[classes:] = math.log(prior)
                        value[0] = math.log1p(-more * prior)


def _channel(modalities: Sequence[str], zscored: Sequence[str], unit: Unit) -> int:
    """Return the first channel of a unit."""
    found = [i for i, name in enumerate(modalities) if modality(name).unit == unit]
    if not found:
        what = "a modality in SUV" if unit == "SUV" else "a CT for prior_rule.soft_tissue"
        raise SettingsError(
            f"prior_rule needs {what}",
            found=", ".join(modalities),
            remedy="leave out prior_rule" if unit == "SUV" else "leave out prior_rule.soft_tissue",
        )
    name = modalities[found[0]]
    if name in zscored:
        raise SettingsError(
            f"prior_rule needs {name} on its fixed scale: a z-score has lost the {unit}",
            remedy=f"set scale.{name}=window, or leave out prior_rule",
        )
    return found[0]


def _encoded(name: str, bounds: tuple[float, float]) -> tuple[float, float]:
    """Return bounds on the scale of the network; those must be ones that it can tell apart."""
    rule = modality(name)
    if not rule.low <= bounds[0] < bounds[1] <= rule.high:
        raise SettingsError(
            f"prior_rule.soft_tissue must lie within {rule.low:g} and {rule.high:g} HU, all that "
            "the network sees",
            found=f"{bounds[0]:g} to {bounds[1]:g}",
            remedy="narrow the bounds",
        )
    low, high = (float(rule.encode(torch.tensor(value))) for value in bounds)
    return low, high
