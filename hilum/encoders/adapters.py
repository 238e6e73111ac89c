"""Low-rank adapters: learn a small correction beside each linear layer of a frozen network."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LowRankLinear(nn.Linear):
    r"""A linear layer and a correction of low rank, which starts at zero.

    $$y = W x + b + \frac{\alpha}{r} U D x$$

    with $D$ of $r$ rows and $U$ of $r$ columns. Weight and bias keep their names, so weights of
    the plain layer load as they are.

    Source:
        Hu et al., "LoRA", ICLR 2022, arXiv:2106.09685.

    Args:
        plain: The layer to take over, parameters and all.
        rank: Numbers that a token is squeezed into, above 0.
        alpha: Strength of the correction.
    """

    def __init__(self, plain: nn.Linear, rank: int, alpha: float) -> None:
        wide, out, device = plain.in_features, plain.out_features, plain.weight.device
        super().__init__(wide, out, plain.bias is not None, device="meta")
        self.weight, self.bias = plain.weight, plain.bias
        self.scale = alpha / rank
        kind = plain.weight.dtype
        self.adapter_down = nn.Parameter(torch.empty(rank, wide, device=device, dtype=kind))
        self.adapter_up = nn.Parameter(torch.zeros(out, rank, device=device, dtype=kind))
        nn.init.kaiming_uniform_(self.adapter_down, a=math.sqrt(5))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Map `[..., in_features]` to `[..., out_features]`."""
        low = F.linear(input, self.adapter_down)
        return super().forward(input) + self.scale * F.linear(low, self.adapter_up)


ATTENTION = ("qkv", "q_proj", "k_proj", "v_proj", "query", "key", "value", "proj", "o_proj")
"""Last names of attention's linear layers in timm and transformers."""


def add_adapters(
    module: nn.Module,
    rank: int,
    *,
    alpha: float | None = None,
    layers: Sequence[str] | None = None,
) -> list[str]:
    """Give linear layers of a module an adapter, in place, and return their names.

    Args:
        module: The network; at once it computes what it did before.
        rank: Rank of each correction; 0 adds none.
        alpha: Strength; twice the rank if not given.
        layers: Last names of the layers to adapt. Attention's if not given, and where there are
            none (a convolutional network) every linear layer.
    """
    if rank < 1:
        return []
    linear = [name for name, part in module.named_modules() if type(part) is nn.Linear]
    wanted = ATTENTION if layers is None else tuple(layers)
    names = [name for name in linear if name.rpartition(".")[2] in wanted]
    names = names or (linear if layers is None else [])
    for name in names:
        parent, _, last = name.rpartition(".")
        plain = module.get_submodule(name)
        assert isinstance(plain, nn.Linear)
        adapted = LowRankLinear(plain, rank, 2.0 * rank if alpha is None else alpha)
        setattr(module.get_submodule(parent), last, adapted)
    return names


def merge_adapters(module: nn.Module) -> int:
    """Add every correction to its weight, turn the layers plain again, and return how many."""
    found = [(name, part) for name, part in module.named_modules() if type(part) is LowRankLinear]
    for name, part in found:
        assert isinstance(part, LowRankLinear)
        with torch.no_grad():
            part.weight += part.scale * part.adapter_up @ part.adapter_down
        plain = nn.Linear(part.in_features, part.out_features, part.bias is not None, device="meta")
        plain.weight, plain.bias = part.weight, part.bias
        parent, _, last = name.rpartition(".")
        setattr(module.get_submodule(parent), last, plain)
    return len(found)


def freeze(module: nn.Module) -> None:
    """Stop learning all parameters of a module but its adapters'."""
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name.rpartition(".")[2].startswith("adapter_"))
