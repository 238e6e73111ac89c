"""Say which container a weights file is, by its bytes: endings of weights files mean nothing."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

from hilum.core.errors import CheckpointError


def container_of(file: Path) -> str:
    """Return `safetensors`, `PyTorch (zip format)` or `PyTorch (old pickle format)`.

    Raises:
        CheckpointError: If it is anything else, or a zip container without its end.
    """
    with file.open("rb") as stream:
        head = stream.read(64)
    size = file.stat().st_size
    if size == 0:
        raise CheckpointError("the file must not be empty", file=file, remedy="fetch it again")
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            "the file must be the weights", file=file, found="a Git LFS pointer",
            remedy="run `git lfs pull` in its repository",
        )  # fmt: skip
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise CheckpointError(
            "the file must be the weights", file=file, found="a web page",
            remedy="download it in a browser, logged in if need be",
        )  # fmt: skip
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(file)
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100_000_000:
        return "safetensors"
    if head[:1] == b"\x80":
        return "PyTorch (old pickle format)"
    return _other(file, head)


def _zip_kind(file: Path) -> str:
    try:
        names = zipfile.ZipFile(file).namelist()
    except Exception:  # a damaged directory fails in many ways
        raise CheckpointError(
            "the file must be whole", file=file, found="a zip container whose end is not readable",
            remedy="it is truncated or damaged: copy or download it again",
        ) from None  # fmt: skip
    if any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        if any("/code/" in name for name in names):
            raise CheckpointError(
                "the file must hold weights, not a TorchScript program",
                file=file,
                remedy="save its state_dict() where you trust it",
            )
        return "PyTorch (zip format)"
    inside = ", ".join(names[:3])
    raise CheckpointError(
        "the file must hold weights", file=file, found=f"a zip archive with {inside}",
        remedy="unpack it and give the weights file inside",
    )  # fmt: skip


def _other(file: Path, head: bytes) -> str:
    kinds = {b"\x1f\x8b": "a gzip archive", b"\x89HDF": "HDF5 (Keras)", b"BZh": "a bzip2 archive"}
    found = next((kind for magic, kind in kinds.items() if head.startswith(magic)), "")
    if not found and tarfile.is_tarfile(file):
        found = "a tar archive"
    raise CheckpointError(
        "the file must be safetensors or a PyTorch checkpoint",
        file=file,
        found=found or f"first bytes {head[:8].hex()}",
        remedy="unpack it and give the weights file inside" if "archive" in found else None,
    )
