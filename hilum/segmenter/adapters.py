"""Low-rank adapters for any encoder, by peft: few parameters train, and saving merges them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence

import torch
from torch import nn

from hilum.core.errors import SettingsError, UserError

from .layer_groups import called_modules

FITTING = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def add_adapters(
    module: nn.Module, inputs: Sequence[tuple[nn.Module, torch.Tensor]], rank: int, alpha: float
) -> list[str]:
    r"""Put a low-rank correction beside linear and convolution layers, in place; the rest freezes.

    $$W' = W + \frac{\alpha}{r} B A$$ with $B = 0$ at the start: the outputs do not change.

    Grouped convolutions (their correction cannot be merged) and layers whose weights are read
    without calling them (their correction would never be seen) get none.

    Source:
        Hu et al., "LoRA", ICLR 2022, arXiv:2106.09685; layers by `peft`.

    Args:
        module: Holds the networks to adapt.
        inputs: Every network inside `module`, and an image that it accepts.
        rank: Rank of each correction.
        alpha: Strength of the correction, in units of the rank.

    Returns:
        Names of the layers that got one.

    Raises:
        UserError: If peft is missing.
        SettingsError: If no layer fits.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise UserError(
            "low-rank adapters need peft", remedy="pip install 'hilum[export]'"
        ) from None
    called = {id(part) for network, image in inputs for part in called_modules(network, image)}
    names = [n for n, part in module.named_modules() if id(part) in called and _fits(part)]
    if not names:
        raise SettingsError(
            "low-rank adapters need linear or convolution layers",
            found=", ".join(sorted({type(network).__name__ for network, _ in inputs})),
            remedy="use another transfer.method",
        )
    aliases = _aliases(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft's advice concerns language models
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=names), module)  # pyright: ignore[reportArgumentType]
    for first, others in aliases.items():
        # peft replaces a layer under one of its names; the forward pass may use another.
        for name in others:
            _put(module, name, module.get_submodule(first))
    return names


def has_adapters(module: nn.Module) -> bool:
    """Tell whether some layer holds an adapter that is not merged."""
    return any(_is_adapter(part) for part in module.modules())


def merged(module: nn.Module) -> nn.Module:
    """Return a copy in which every correction is added to its weight, with plain layers only."""
    plain = copy.deepcopy(module)
    done: set[int] = set()
    for name, part in list(plain.named_modules(remove_duplicate=False)):
        if not _is_adapter(part):
            continue
        layer = part.get_submodule("base_layer")
        if id(layer) not in done:  # a layer of two names comes twice
            done.add(id(layer))
            _add_correction(layer, part)
        _put(plain, name, layer)
    return plain


@torch.no_grad()
def _add_correction(layer: nn.Module, part: nn.Module) -> None:
    """Add the scaled product of both factors to a weight.

    peft's own merge takes a 1 x 1 x 1 convolution for a flat one, and fails.
    """
    low, high = (part.get_parameter(f"lora_{x}.default.weight").flatten(1) for x in "AB")
    weight = layer.get_parameter("weight")
    scale = part.scaling["default"]  # pyright: ignore[reportIndexIssue, reportArgumentType]
    weight += scale * (high @ low).view_as(weight)


def _fits(part: nn.Module) -> bool:
    return type(part) in FITTING and getattr(part, "groups", 1) == 1


def _is_adapter(part: nn.Module) -> bool:
    return hasattr(part, "lora_A") and hasattr(part, "base_layer")


def _aliases(module: nn.Module) -> dict[str, list[str]]:
    """Return every further name of each module that has several, by its first name."""
    found: dict[int, list[str]] = {}
    for name, part in module.named_modules(remove_duplicate=False):
        found.setdefault(id(part), []).append(name)
    return {names[0]: names[1:] for names in found.values() if len(names) > 1}


def _put(module: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, part)
