"""Export to a plain PyTorch state dict: a file of tensors by name, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from hilum.core.weights import read_weights


def export_state_dict(folder: Path, part: Path, tolerance: float) -> dict[str, Any]:
    """Write `model.pt` and the configuration; `torch.load(file, weights_only=True)` reads it.

    Names are those of our networks; each tensor stands once, under its first name.
    """
    weights = read_weights(folder)
    torch.save(weights, part / "model.pt")
    shutil.copyfile(folder / "config.json", part / "config.json")
    return {"tensors": len(weights), "parameters": sum(v.numel() for v in weights.values())}
