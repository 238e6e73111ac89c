"""What a cell reads that no cell makes: part of its identity by content, not only by place."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from hilum.core.files import hash_of_file
from hilum.datasets.labelling import read_choice

WEIGHTS = "model.safetensors"


def read_by_content(settings: Mapping[str, Any], weights: bool = True) -> dict[str, Any]:
    """Return whom a labelling plan names, and the hash of weights that a cell starts from.

    So a plan or a network that was made again under its old name makes new cells. Weights that are
    not there yet have no hash: the run's own check says so.

    Args:
        settings: Of a cell.
        weights: Whether `init_from` is from outside; that of a pretraining cell is not.

    Raises:
        DataError: If a plan names nobody, or cannot be read.
    """
    found: dict[str, Any] = {}
    split, start = settings.get("split"), settings.get("init_from") if weights else None
    if isinstance(split, dict) and split.get("choose"):
        found["chosen"] = read_choice(split["choose"])
    folders = start if isinstance(start, dict) else {"": start} if start else {}
    hashes = {name: mark for name, folder in folders.items() if (mark := _mark(Path(folder)))}
    return found | ({"weights": hashes} if hashes else {})


def _mark(folder: Path) -> str:
    file = folder / WEIGHTS
    if not file.is_file():
        return ""
    about = file.stat()
    return _hash(file.resolve(), about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=256)
def _hash(file: Path, size: int, changed: int) -> str:
    """Return the hash of a file; of thousands of cells that start from it, the first reads it."""
    return hash_of_file(file)
