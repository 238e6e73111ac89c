"""Read weights that another tool wrote, without ever running code that the file may hold."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hilum.core.errors import CheckpointError
from hilum.core.plain import PlainError, json_of

from .containers import container_of

GROUPS = (
    "network_weights",
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "student",
    "teacher",
    "module",
    "params",
    "weights",
)
"""Keys under which tools keep a network's tensors, the most telling first."""

WRAPPERS = ("module.", "_orig_mod.", "_forward_module.")
"""What DistributedDataParallel, torch.compile and Lightning Fabric put before every name."""


@dataclass(frozen=True)
class ForeignFile:
    """What a file holds.

    Attributes:
        path: The file, or the folder for HuggingFace's layout.
        kind: The container, in words.
        tensors: Tensors by name, mapped from the disk where the container allows it; wrapper
            prefixes are gone.
        group: Key under which they lay; empty at the top.
        prefix: Wrapper prefixes that every name had.
        about: Everything else at the top of the file, tensors left out; `config` is the
            neighbouring `config.json`, if there is one.
        groups: Every other group of tensors in the file, with their number.
        sha256: Of the file's bytes, 64 hexadecimal digits.
    """

    path: Path
    kind: str
    tensors: dict[str, Tensor]
    group: str = ""
    prefix: str = ""
    about: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    sha256: str = ""

    def numbers(self) -> int:
        """Return how many numbers the tensors hold."""
        return sum(tensor.numel() for tensor in self.tensors.values())


def read_foreign(path: str | Path, sha256: str | None = None) -> ForeignFile:
    """Read a weights file, or a folder in HuggingFace's layout, onto the CPU.

    Files of PyTorch are read with `weights_only`, so nothing in them runs; those in the zip format
    and safetensors are mapped, so what nobody reads takes no memory.

    Args:
        path: `.safetensors`, `.pt`, `.pth`, `.ckpt`, `.bin`, `.model`, or a folder.
        sha256: Expected digest of the file, or none.

    Raises:
        CheckpointError: If the file is missing, truncated, changed, of another format, or holds
            code.
    """
    path = Path(path)
    file = _weights_of(path) if path.is_dir() else path
    if not file.is_file():
        raise CheckpointError("no such weights file", file=path, remedy="check the path")
    digest = _digest(file)
    if sha256 is not None and digest != sha256.lower().removeprefix("sha256:"):
        raise CheckpointError(
            "the file must have the given sha256",
            file=file,
            found=digest,
            remedy=f"expected {sha256.lower()}: fetch it again from its home",
        )
    kind = container_of(file)
    content = _safetensors(file) if kind == "safetensors" else _torch(file, kind)
    about = _config_beside(file)
    tensors, group, rest, groups = _find_group(content, file)
    tensors, prefix = _unwrap(tensors)
    return ForeignFile(path, kind, tensors, group, prefix, about | rest, groups, digest)


def _weights_of(folder: Path) -> Path:
    """Return the weights of a folder in HuggingFace's or timm's layout."""
    if (folder / "model.safetensors.index.json").exists():
        raise CheckpointError(
            "the weights must be one file",
            file=folder,
            found="model.safetensors in shards",
            remedy="load them with transformers and save them with a large max_shard_size",
        )
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(
        "a folder of weights must hold model.safetensors or pytorch_model.bin",
        file=folder,
        remedy="give the weights file itself",
    )


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _safetensors(file: Path) -> dict[str, Any]:
    try:
        with safe_open(file, framework="pt") as stream:
            content: dict[str, Any] = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            return content | {"__metadata__": dict(stream.metadata() or {})}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            "the file must be whole", file=file, found=" ".join(str(error).split()),
            remedy="it is truncated or damaged: copy or download it again",
        ) from None  # fmt: skip


def _torch(file: Path, kind: str) -> Any:
    mapped = "zip" in kind
    try:
        with torch.serialization.safe_globals(_numpy_scalars()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on old pickle protocols
            return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise _refused(file, str(error)) from None
    except Exception as error:  # a damaged pickle fails anywhere in torch's reader
        raise CheckpointError(
            "the file must be whole", file=file, found=" ".join(str(error).split())[:120],
            remedy="it is truncated or damaged: copy or download it again",
        ) from None  # fmt: skip


def _refused(file: Path, text: str) -> CheckpointError:
    """Return the error for a pickle that names something other than tensors and plain values."""
    name = re.search(r"GLOBAL ([\w.]+)", text)
    found = name.group(1).rstrip(".") if name else ""
    if not found or not _may_exist(found):
        return CheckpointError(
            "the file must be a whole PyTorch checkpoint",
            file=file,
            found="a pickle that torch did not write, or a damaged one",
            remedy="refused: fetch it again, or save the state_dict() where you trust the file",
        )
    return CheckpointError(
        "a weights file must hold tensors and plain values only (a pickle can run code)",
        file=file,
        found=f"the object {found}",
        remedy="refused: where you trust the file, save its state_dict() alone",
    )


def _may_exist(name: str) -> bool:
    """Return whether a global can be one: a cut file ends within the name of a torch function."""
    parts = name.split(".")
    here: object = torch if parts[0] == "torch" else None
    for part in parts[1:]:
        here = getattr(here, part, None) if parts[0] == "torch" else None
    return parts[0] != "torch" or here is not None


def _numpy_scalars() -> list[Any]:
    """Return what nnU-Net's log needs: numpy's numbers, under the old and the new module name."""
    import numpy as np

    rebuild = np.float64(0).__reduce__()[0]
    kinds = (np.float64, np.float32, np.float16, np.int64, np.int32, np.uint8, np.bool_)
    return [
        (rebuild, "numpy.core.multiarray.scalar"),
        (rebuild, "numpy._core.multiarray.scalar"),
        np.dtype,
        *{type(np.dtype(kind)) for kind in kinds},
        *kinds,
    ]


def _config_beside(file: Path) -> dict[str, Any]:
    """Return `config.json` of the weights' folder, if it has one that reads."""
    config = file.parent / "config.json"
    if not file.name.startswith(("model.", "pytorch_model.")) or not config.is_file():
        return {}
    try:
        return {"config": json_of(config.read_bytes())}
    except PlainError as error:
        raise CheckpointError(
            "config.json must be JSON", file=config, found=error, remedy="download the folder again"
        ) from None


def _find_group(
    content: Any, file: Path
) -> tuple[dict[str, Tensor], str, dict[str, Any], dict[str, int]]:
    """Return the network's tensors, their key, the rest, and the other groups with their sizes."""
    if not isinstance(content, Mapping):
        raise CheckpointError(
            "the file must hold tensors by name",
            file=file,
            found=type(content).__name__,
            remedy="save the state dict of the network alone",
        )
    flat = _tensors_in(content)
    groups = {
        str(key): found
        for key, value in content.items()
        if isinstance(value, Mapping) and (found := _tensors_in(value))
    }
    rest = {
        str(key): value
        for key, value in content.items()
        if not isinstance(value, Tensor) and str(key) not in groups
    }
    name = next((key for key in GROUPS if key in groups), "")
    if not name and not flat and groups:
        name = max(groups, key=lambda key: len(groups[key]))
    chosen = groups.get(name, flat)
    if not chosen:
        raise CheckpointError(
            "the file must hold tensors by name",
            file=file,
            found=f"the keys {', '.join(map(str, list(content)[:5])) or 'none'}",
            remedy="save the state dict of the network alone",
        )
    rest |= {key: value for key, value in content.get(name, {}).items() if key not in chosen}
    return chosen, name, rest, {key: len(group) for key, group in groups.items() if key != name}


def _tensors_in(group: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {str(key): value for key, value in group.items() if isinstance(value, Tensor)}


def _unwrap(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Take away prefixes that wrappers put before every name."""
    gone = ""
    while True:
        prefix = next((w for w in WRAPPERS if all(key.startswith(w) for key in tensors)), "")
        if not prefix:
            return tensors, gone
        gone += prefix
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
