"""Where a run comes from: versions, commit, data and encoder, for whoever finds it later."""

from __future__ import annotations

import functools
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hilum.core.files import hash_of_file, read_json

PACKAGES = ("hilum", "torch", "pytorch-lightning", "monai", "timm", "transformers", "numpy")


def provenance(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return versions, commit, and the hashes of the store and the encoder that settings name.

    Args:
        config: Resolved settings of a run; `store` and `init_from` are looked at.
    """
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": commit(),
    }
    store, encoder = config.get("store"), config.get("init_from")
    if store and (file := Path(store) / "store.json").exists():
        found["data"] = read_json(file).get("fingerprint", "")
    folders = encoder if isinstance(encoder, dict) else {"": encoder} if encoder else {}
    hashes = {
        name: hash_of_file(file)
        for name, folder in folders.items()
        if (file := Path(folder) / "model.safetensors").exists()
    }
    if hashes:
        found["encoder"] = hashes.get("", hashes)
    return found


@functools.cache
def commit() -> str:
    """Return the commit of this checkout, with `+` if files were changed; empty elsewhere."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return ""
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return head + ("+" if _git(folder, "status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(folder: Path, *command: str) -> str:
    return subprocess.run(
        ["git", *command], cwd=folder, capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
