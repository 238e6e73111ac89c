"""What tells one network from others: by what was loaded, not by the folder that it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from hilum.core.files import hash_of

from ..ensemble import load_predictor, segmenter_folders
from ..predictor import Predictor

Given = str | Path | Sequence[str | Path] | Predictor


def load(segmenter: Given) -> tuple[Predictor, str]:
    """Return the network on the best device, and what tells it from others."""
    if isinstance(segmenter, nn.Module):
        return segmenter, identity_of(segmenter)
    model = load_predictor(*_given(segmenter))
    # A folder may be replaced at any time: its files say nothing of what is in memory.
    identity = identity_of(model)
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), identity


def folders_of(segmenter: Given) -> list[Path]:
    """Return the segmenter folders that are meant; none for a network in memory."""
    if isinstance(segmenter, nn.Module):
        return []
    return [folder for path in _given(segmenter) for folder in segmenter_folders(path)]


def identity_of(model: Predictor) -> str:
    """Return a hash of the configuration and of every tensor of a network, or of several."""
    parts = []
    for network in model.networks:
        total = hashlib.sha256()
        for name, tensor in sorted(network.state_dict().items()):
            plain = tensor.detach().cpu().contiguous()
            total.update(f"{name} {plain.dtype} {tuple(plain.shape)} ".encode())
            total.update(plain.reshape(-1).view(torch.uint8).numpy().data)
        config = getattr(network, "config", model.config)
        parts.append([config.model_dump(mode="json"), total.hexdigest()])
    return hash_of(parts)


def _given(segmenter: str | Path | Sequence[str | Path]) -> list[str | Path]:
    return [segmenter] if isinstance(segmenter, str | Path) else list(segmenter)
