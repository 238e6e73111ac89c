"""Which parameters train when not all do: the first layers, or norms and biases."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import nn

from hilum.core.geometry import IntTriple
from hilum.encoders.base import Encoder
from hilum.segmenter.layer_groups import layers_of


def last_layers(encoders: Iterable[Encoder], sides: IntTriple, share: float) -> list[nn.Parameter]:
    """Return the parameters behind the first `share` of the layers of each encoder.

    Source:
        Khan & Fang, "Revisiting fine-tuning strategies for self-supervised medical imaging
        analysis", 2023, arXiv:2307.10915: after pretraining by restoration, training the first
        three quarters of the encoder was better than all of it.

    Args:
        encoders: Any.
        sides: Voxels of a patch.
        share: Of the layers, rounded up: at least one trains.
    """
    held: list[nn.Parameter] = []
    for encoder in encoders:
        layers = layers_of(encoder, sides)
        held += [p for layer in layers[math.ceil(share * len(layers)) :] for p in layer]
    return held


def but_norms_and_biases(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of a module that are neither of a norm nor a bias.

    Source:
        Ben Zaken et al., "BitFit", ACL 2022, arXiv:2106.10199 (biases); scales of norms besides, as
        in the comparison of LN-Seg-FM, arXiv:2503.00748.
    """
    kept = {id(part.get_parameter(n)) for part in module.modules() for n in _own(part)}
    return [p for p in module.parameters() if id(p) not in kept]


def _own(part: nn.Module) -> list[str]:
    """Return the names of a layer's parameters that count: all of a norm, the bias of others."""
    norm = "norm" in type(part).__name__.lower()
    return [
        n for n, p in part.named_parameters(recurse=False) if norm or ("bias" in n and p.ndim < 2)
    ]
