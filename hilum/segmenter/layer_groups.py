"""The layers of an encoder in the order in which an image meets them, and their learning rates."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hilum.core.geometry import IntTriple
from hilum.encoders.base import Encoder


def decayed_rates(count: int, decay: float) -> list[float]:
    """Return the factor on the learning rate of each layer, shallow first; the deepest has 1.

    Source:
        Layer-wise learning-rate decay: Bao et al., "BEiT", ICLR 2022, arXiv:2106.08254, appendix.

    Examples:
        >>> decayed_rates(3, 0.5)
        [0.25, 0.5, 1.0]
    """
    return [decay ** (count - 1 - layer) for layer in range(count)]


def layers_of(encoder: Encoder, sides: IntTriple) -> list[list[nn.Parameter]]:
    """Return the parameters of each layer of any encoder, the first that an image meets in front.

    A layer is a stage of a pyramid or a block of a transformer: the members of the encoder, once
    wrappers around one member are taken off. Lists of modules stand for their members, and so does
    a chain (`nn.Sequential`) that has no other chain next to it. Parameters of the encoder itself,
    such as position embeddings, belong to the first layer, and a norm to the layer before it.

    Args:
        encoder: Any.
        sides: Voxels of a patch that it accepts; a forward pass without memory finds the order.
    """
    core, chain = _core(encoder), _only_chain(_core(encoder))
    units = [unit for child in core.children() for unit in _units(child, chain)]
    image = torch.zeros((1, encoder.in_channels, *sides))
    turns = {id(part): turn for turn, part in enumerate(called_modules(encoder, image))}
    late = len(turns)
    units.sort(key=lambda unit: min(turns.get(id(part), late) for part in unit.modules()))
    # What no layer holds is met first: position embeddings, tokens.
    held = {id(p) for unit in units for p in unit.parameters()}
    pending = [p for p in encoder.parameters() if id(p) not in held]
    seen, layers = {id(p) for p in pending}, list[list[nn.Parameter]]()
    for unit in units:
        own = [p for p in unit.parameters() if id(p) not in seen]
        seen |= {id(p) for p in own}
        if layers and not (_heavy(own) and _heavy(layers[-1])):
            layers[-1] += own
        else:
            layers.append(pending + own)
            pending = []
    return [layer for layer in [*layers, pending] if layer]


def called_modules(module: nn.Module, image: Tensor) -> list[nn.Module]:
    """Return the parts of a module that its forward pass calls, in the order of their first call.

    The pass runs on torch's device without memory; a module that cannot runs for real. Parts whose
    weights are read without a call, as in some attention layers, are not in the list.
    """
    shadow = copy.deepcopy(module).to("meta")
    try:
        names = _call_order(shadow, image.to("meta"))
    except (RuntimeError, NotImplementedError, ValueError, TypeError):
        device = next(module.parameters()).device
        names = _call_order(module, image.to(device))
    parts = dict(module.named_modules())
    return [parts[name] for name in names]


@torch.no_grad()
def _call_order(module: nn.Module, image: Tensor) -> list[str]:
    found: dict[str, None] = {}
    hooks = [
        part.register_forward_pre_hook(lambda part, given, name=name: found.setdefault(name))
        for name, part in module.named_modules()
    ]
    before = {part: part.training for part in module.modules()}
    module.eval()
    try:
        module(image)
    finally:
        for part, training in before.items():
            part.training = training
        for hook in hooks:
            hook.remove()
    return list(found)


def _core(module: nn.Module) -> nn.Module:
    """Take off wrappers that hold one module with parameters and none of their own."""
    while not list(module.parameters(recurse=False)):
        children = _children(module)
        if len(children) != 1:
            break
        module = children[0]
    return module


def _children(module: nn.Module) -> list[nn.Module]:
    return [child for child in module.children() if any(True for _ in child.parameters())]


def _only_chain(core: nn.Module) -> nn.Module | None:
    inner = [_core(child) for child in _children(core)]
    chains = [c for c in inner if isinstance(c, nn.Sequential) and len(_children(c)) > 1]
    return chains[0] if len(chains) == 1 else None


def _units(module: nn.Module, chain: nn.Module | None) -> Sequence[nn.Module]:
    inner = _core(module)
    if isinstance(inner, nn.ModuleList | nn.ModuleDict) or inner is chain:
        return [unit for child in inner.children() for unit in _units(child, None)]
    return [module] if _children(module) or list(module.parameters(recurse=False)) else []


def _heavy(layer: Sequence[nn.Parameter]) -> bool:
    """Tell whether a layer has weights, not only biases and scales."""
    return any(p.ndim > 1 for p in layer)
