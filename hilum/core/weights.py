"""Read weights: whole, finite, and those of the file that was saved. Nothing here unpickles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from .errors import CheckpointError
from .files import hash_of_file, read_json

WEIGHTS = "model.safetensors"


def read_weights(
    folder: str | Path, checksums: Mapping[str, str] | None = None
) -> dict[str, Tensor]:
    """Read the tensors of an encoder folder, or of one `.safetensors` file, onto the CPU.

    Args:
        folder: The folder or the file.
        checksums: SHA-256 of files by name, from the configuration that the weights are read for;
            by default those that `config.json` next to the file holds now, if any.

    Raises:
        CheckpointError: If the file is missing, damaged, another than the one that was saved, or
            holds numbers that are not finite.
    """
    path = Path(folder)
    path = path / WEIGHTS if path.is_dir() else path
    if path.suffix != ".safetensors":
        raise CheckpointError(
            "weights must be a .safetensors file (a pickle can run code)",
            file=path,
            remedy="convert it with the tool that wrote it",
        )
    expected = (_checksums_beside(path) if checksums is None else checksums).get(path.name)
    try:
        before = path.stat()
        found = hash_of_file(path, 64) if expected else None
        weights = load_file(path)
        after = path.stat()
    except FileNotFoundError:
        raise CheckpointError(
            "no such weights", file=path, remedy="copy the whole folder again"
        ) from None
    except (SafetensorError, OSError) as error:
        told = " ".join(str(error).split())
        raise CheckpointError(
            "the weights must be a whole safetensors file",
            file=path,
            found=told,
            remedy="copy or write it again",
        ) from None
    same = (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    if found != expected or not same:
        raise CheckpointError(
            "the weights must be those that were saved with config.json",
            file=path,
            found=f"SHA-256 {found}" if same else "a file that was replaced while it was read",
            remedy="it is damaged or of another network: copy the whole folder again (if you "
            "changed the weights on purpose, remove checksums from config.json)"
            if same
            else "run the same command again",
        )
    check_finite(weights, path)
    return weights


def check_finite(weights: Mapping[str, Tensor], file: str | Path) -> None:
    """Raise an error if a number of the weights is infinite or none."""
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise CheckpointError(
                "weights must be finite",
                file=file,
                found=f"{bad} of {tensor.numel()} numbers of {name} that are not",
                remedy="the training diverged: take an earlier or another run",
            )


def _checksums_beside(file: Path) -> dict[str, str]:
    """Return the checksums in the `config.json` of a folder of ours; none in another's."""
    config = file.with_name("config.json")
    about = read_json(config) if config.is_file() else {}
    found = about.get("checksums") if isinstance(about, dict) else None
    return found if isinstance(found, dict) else {}
