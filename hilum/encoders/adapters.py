"""Low-rank adapters: learn a small correction next to the layers of a frozen network."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _LowRank:
    r"""A layer and a correction of low rank, which starts at zero.

    $$y = W x + b + \frac{\alpha}{r} U D x$$

    with $D$ of $r$ outputs and $U$ of $r$ inputs. Weight and bias keep their names, so weights of
    the plain layer load as they are.

    Source:
        Hu et al., "LoRA", ICLR 2022, arXiv:2106.09685. Of a convolution, $D$ has its kernel, stride
        and padding, and $U$ is one of 1 x 1 x 1, as in `peft`.

    Attributes:
        scale: $\alpha / r$.
        passing: Whether the correction is added to the weight when the network is saved.
    """

    scale: float
    passing: bool
    adapter_down: nn.Parameter
    adapter_up: nn.Parameter


class LowRankLinear(_LowRank, nn.Linear):
    """A linear layer with an adapter."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Map `[..., in_features]` to `[..., out_features]`."""
        low = F.linear(input, self.adapter_down)
        return super().forward(input) + self.scale * F.linear(low, self.adapter_up)


class LowRankConv1d(_LowRank, nn.Conv1d):
    """A convolution with an adapter."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Map `[B, in, W]` to `[B, out, W']`."""
        low = F.conv1d(input, self.adapter_down, None, self.stride, self.padding, self.dilation)
        return super().forward(input) + self.scale * F.conv1d(low, self.adapter_up)


class LowRankConv2d(_LowRank, nn.Conv2d):
    """A convolution with an adapter."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Map `[B, in, H, W]` to `[B, out, H', W']`."""
        low = F.conv2d(input, self.adapter_down, None, self.stride, self.padding, self.dilation)
        return super().forward(input) + self.scale * F.conv2d(low, self.adapter_up)


class LowRankConv3d(_LowRank, nn.Conv3d):
    """A convolution with an adapter."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Map `[B, in, D, H, W]` to `[B, out, D', H', W']`."""
        low = F.conv3d(input, self.adapter_down, None, self.stride, self.padding, self.dilation)
        return super().forward(input) + self.scale * F.conv3d(low, self.adapter_up)


ADAPTED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: LowRankLinear,
    nn.Conv1d: LowRankConv1d,
    nn.Conv2d: LowRankConv2d,
    nn.Conv3d: LowRankConv3d,
}
"""What a plain layer becomes."""
_PLAIN = {adapted: plain for plain, adapted in ADAPTED.items()}


def takes_adapter(layer: nn.Module) -> bool:
    """Tell whether a layer can have one: plain, not grouped, padded with zeros."""
    if type(layer) not in ADAPTED or getattr(layer, "groups", 1) != 1:
        return False
    return getattr(layer, "padding_mode", "zeros") == "zeros"


def adapt(layer: nn.Module, rank: int, alpha: float, *, passing: bool = False) -> None:
    """Give a layer an adapter, in place: it stays the same object, under whatever names it has.

    Args:
        layer: One that `takes_adapter`.
        rank: Numbers that a place is squeezed into, above 0.
        alpha: Strength of the correction, in units of the rank.
        passing: Whether the correction is added to the weight when the network is saved.
    """
    weight = layer.get_parameter("weight")
    out, wide, *kernel = weight.shape
    layer.__class__ = ADAPTED[type(layer)]
    assert isinstance(layer, _LowRank)
    layer.scale, layer.passing = alpha / rank, passing
    down = torch.empty((rank, wide, *kernel), device=weight.device, dtype=weight.dtype)
    up = torch.zeros((out, rank, *(1 for _ in kernel)), device=weight.device, dtype=weight.dtype)
    layer.adapter_down, layer.adapter_up = nn.Parameter(down), nn.Parameter(up)
    nn.init.kaiming_uniform_(layer.adapter_down, a=math.sqrt(5))


def merge(layer: nn.Module) -> None:
    """Add the correction of an adapted layer to its weight, and turn it plain again, in place."""
    assert isinstance(layer, _LowRank)
    weight = layer.get_parameter("weight")
    with torch.no_grad():
        change = layer.scale * layer.adapter_up.flatten(1) @ layer.adapter_down.flatten(1)
        weight += change.view_as(weight)
    del layer.adapter_down, layer.adapter_up, layer.scale, layer.passing
    layer.__class__ = _PLAIN[type(layer)]  # pyright: ignore[reportAttributeAccessIssue]


def adapted(module: nn.Module, *, passing: bool | None = None) -> list[nn.Module]:
    """Return the layers with an adapter, each once: all, or those that pass, or those that stay."""
    found = [part for part in module.modules() if isinstance(part, _LowRank)]
    return [part for part in found if passing is None or part.passing == passing]


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
        adapt(module.get_submodule(name), rank, 2.0 * rank if alpha is None else alpha)
    return names


def merge_adapters(module: nn.Module) -> int:
    """Add every correction to its weight, turn the layers plain again, and return how many."""
    found = adapted(module)
    for layer in found:
        merge(layer)
    return len(found)


def freeze(module: nn.Module) -> None:
    """Stop learning all parameters of a module but its adapters'."""
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name.rpartition(".")[2].startswith("adapter_"))
