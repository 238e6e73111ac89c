"""Parameter groups, optimisers, and learning rates that are functions of the step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from .acceleration import fused
from .settings import TrainerSettings


class LightningSchedule(TypedDict):
    """One scheduler, as Lightning wants it."""

    scheduler: LambdaLR
    interval: Literal["step"]


class LightningOptimiser(TypedDict):
    """What `LightningModule.configure_optimizers` returns."""

    optimizer: torch.optim.Optimizer
    lr_scheduler: LightningSchedule


def configure(
    parts: Mapping[str, tuple[nn.Module | Sequence[nn.Parameter], float]],
    settings: TrainerSettings,
    name: Literal["adamw", "sgd"] = "adamw",
) -> LightningOptimiser:
    """Return the optimiser and schedule of a run.

    Args:
        parts: Modules, or lists of parameters, by name, each with a factor on the learning rate:
            `{"encoder": (encoder, 0.2), "decoder": (decoder, 1.0)}`. A parameter goes to the first
            part that has it.
        settings: Rates, decay, warm-up and length.
        name: `adamw`, or `sgd` with Nesterov momentum 0.99 (nnU-Net's).
    """
    groups = parameter_groups(parts, settings.learning_rate, settings.weight_decay)
    optimiser: torch.optim.Optimizer
    if name == "adamw":
        optimiser = adamw(groups, settings.learning_rate)
    else:
        optimiser = torch.optim.SGD(groups, lr=settings.learning_rate, momentum=0.99, nesterov=True)
    schedule = LambdaLR(
        optimiser, lambda step: rate_at(step, settings.steps, settings.warmup, settings.schedule)
    )
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def adamw(groups: list[dict[str, Any]], learning_rate: float) -> torch.optim.AdamW:
    """Return AdamW; its step is one fused kernel where the parameters are on a GPU."""
    held = [parameter for group in groups for parameter in group["params"]]
    return torch.optim.AdamW(groups, lr=learning_rate, fused=fused(held) or None)


def parameter_groups(
    parts: Mapping[str, tuple[nn.Module | Sequence[nn.Parameter], float]],
    learning_rate: float,
    weight_decay: float,
) -> list[dict[str, Any]]:
    """Return optimiser groups, two for each part: with and without weight decay.

    Norms, biases and other parameters of at most one axis do not decay. Each group carries the
    `name` of its part, by which the learning rate is logged.
    """
    seen: set[int] = set()
    groups: list[dict[str, Any]] = []
    for name, (module, factor) in parts.items():
        held = module.parameters() if isinstance(module, nn.Module) else module
        own = [p for p in held if p.requires_grad and id(p) not in seen]
        seen |= {id(p) for p in own}
        for decays in (True, False):
            chosen = [p for p in own if (p.ndim > 1) == decays]
            if chosen:
                groups.append(
                    {
                        "params": chosen,
                        "lr": learning_rate * factor,
                        "weight_decay": weight_decay if decays else 0.0,
                        "name": name,
                    }
                )
    return groups


def rate_at(step: float, steps: int, warmup: float, schedule: Literal["poly", "cosine"]) -> float:
    """Return the factor on the learning rate for the step with this number, counted from 0.

    It rises in a straight line during the first `warmup * steps` steps, is 1 at their end, and
    falls to 0 at `steps`: `poly` as `(1 - t) ** 0.9` (nnU-Net's), `cosine` as half a wave.

    Examples:
        >>> [round(rate_at(step, 10, 0.2, "cosine"), 3) for step in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    rising = round(warmup * steps)
    if step < rising:
        return min((step + 1) / rising, 1.0)
    t = min((step - rising) / max(steps - rising, 1), 1.0)
    return (1 - t) ** 0.9 if schedule == "poly" else 0.5 * (1 + math.cos(math.pi * t))
