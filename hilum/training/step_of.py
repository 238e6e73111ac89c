"""How far a checkpoint is."""

from __future__ import annotations

from pathlib import Path

import torch

from hilum.core.errors import CheckpointError


def step_of(checkpoint: Path | None) -> int:
    """Return the step of a checkpoint, 0 without one.

    Raises:
        CheckpointError: If it cannot be read.
    """
    if checkpoint is None:
        return 0
    try:
        return int(torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"])
    except Exception as error:
        raise CheckpointError(
            "the checkpoint must be whole and made by this command",
            file=checkpoint,
            found=" ".join(str(error).split())[:200],
            remedy="delete it to begin again",
        ) from None
