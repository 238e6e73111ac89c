"""Activation checkpointing: keep the inputs of a part, compute what lies inside it a second time.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016, arXiv:1604.06174.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def recompute(parts: Iterable[nn.Module]) -> None:
    """Let each part compute its forward pass again in the backward pass, instead of keeping it.

    Gradients are the same; running statistics of batch norms move once a step, not twice. Names
    of parameters and copies of the module are as before. Without gradients nothing changes.
    """
    for part in parts:
        part.forward = partial(_forward, part)


def _forward(part: nn.Module, *inputs: Any, **named: Any) -> Any:
    plain = type(part).forward
    if not torch.is_grad_enabled():
        return plain(part, *inputs, **named)
    own: dict[str, Any] = {}
    # A compiled graph writes statistics once, after the forward pass, and takes no contexts.
    if _norms(part) and not torch.compiler.is_compiling():
        own["context_fn"] = partial(_contexts, part)
    return checkpoint(plain, part, *inputs, use_reentrant=False, **own, **named)


def _norms(part: nn.Module) -> list[Any]:
    return [m for m in part.modules() if isinstance(m, BATCH_NORMS) and m.track_running_stats]


def _contexts(part: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _still(part)


@contextmanager
def _still(part: nn.Module) -> Iterator[None]:
    """Keep the running statistics of a part as they are."""
    norms = _norms(part)
    # A momentum of 0, not statistics switched off: the pass must save the same tensors as before.
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
