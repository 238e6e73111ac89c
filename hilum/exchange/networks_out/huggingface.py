"""HuggingFace's layout: save it, load it from a folder or by name, push it to the hub."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from hilum.core.checkpoints import load_weights, read_config
from hilum.core.errors import CheckpointError
from hilum.core.files import hash_of_file, read_json, write_text
from hilum.core.registry import build
from hilum.core.weights import read_weights
from hilum.encoders import ENCODERS
from hilum.encoders.base import Encoder
from hilum.segmenter.segmenter import Segmenter

from ..weights_in.hub import cache_folder, cached, check_repo, download, place_of
from .exporting import export, kind_of

FILES = ("config.json", "model.safetensors", "README.md")
SUMS = "SHA256SUMS"


def save_pretrained(folder: str | Path, out: str | Path) -> Path:
    """Write an encoder or segmenter folder in HuggingFace's layout; `export` to `huggingface`."""
    return export(folder, "huggingface", out)


def from_pretrained(
    name: str | Path,
    *,
    revision: str | None = None,
    network: bool = False,
    sha256: str | None = None,
) -> Encoder | Segmenter:
    """Read an encoder or a segmenter by folder or by hub name, ready to use.

    Args:
        name: A folder, or `owner/name`.
        revision: Branch, tag or commit on the hub; `main` if not given.
        network: Whether it may be downloaded; without, only folders and caches are looked at.
        sha256: What the 64 digits of `model.safetensors` must be. Without, those of `SHA256SUMS`
            count, where the folder has it.

    Raises:
        CheckpointError: If it is nowhere, or its bytes or its architecture differ.
    """
    folder = locate(name, revision=revision, network=network)
    check_sums(folder, sha256)
    if kind_of(folder) == "segmenter":
        return Segmenter.from_pretrained(folder)
    config = read_config(folder)
    encoder = build(ENCODERS, config.architecture, in_channels=len(config.modalities))
    load_weights(encoder, read_weights(folder), threshold=1.0)
    return encoder.eval()


def push_to_hub(
    folder: str | Path,
    name: str,
    *,
    private: bool = True,
    revision: str | None = None,
    api: Any = None,
) -> str:
    """Upload a folder that `save_pretrained` wrote, and return its address.

    Args:
        folder: In HuggingFace's layout.
        name: `owner/name`.
        private: Whether only the owner may see it, if it is new.
        revision: Branch to write to.
        api: A `huggingface_hub.HfApi`; a new one uses the token of `hf auth login`.

    Raises:
        CheckpointError: If the folder is no such folder, or was changed since.
    """
    source = Path(folder)
    kind_of(source)
    if not (source / SUMS).is_file():
        raise CheckpointError(
            "the folder must be in HuggingFace's layout",
            file=source,
            found=f"no {SUMS}",
            remedy="write it first: hilum export huggingface FOLDER --out DIR",
        )
    check_sums(source)
    check_repo(name)
    if api is None:
        from huggingface_hub import HfApi

        api = HfApi()
    address = api.create_repo(name, private=private, exist_ok=True)
    allowed = [*FILES, SUMS, "export.json"]
    api.upload_folder(
        repo_id=name,
        folder_path=str(source),
        revision=revision,
        allow_patterns=allowed,
        commit_message="Upload by hilum",
    )
    return str(address)


def export_huggingface(folder: Path, part: Path, tolerance: float) -> dict[str, Any]:
    """Copy weights and configuration, and write a card with the hub's header and the sums."""
    for name in FILES[:2]:
        shutil.copyfile(folder / name, part / name)
    write_text(part / FILES[2], _card(folder))
    rows = [f"{hash_of_file(part / name, 64)}  {name}" for name in FILES]
    write_text(part / SUMS, "\n".join(rows) + "\n")
    return {"layout": "huggingface_hub"}


def locate(name: str | Path, *, revision: str | None = None, network: bool = False) -> Path:
    """Return the folder of a network by path or hub name; downloads only if told to.

    Looks for the path itself, for `HILUM_CACHE/owner--name`, then into HuggingFace's cache inside
    `HILUM_CACHE` and at its usual place.
    """
    if Path(name).is_dir():
        return Path(name)
    text = str(name)
    if isinstance(name, Path) or text.startswith((".", "/", "~")) or text.count("/") != 1:
        raise CheckpointError("no such folder", file=text, remedy="check the path")
    check_repo(text)
    by_hand = place_of(text, revision)
    if by_hand.is_dir():
        return by_hand
    wanted = [*FILES, SUMS]
    for cache in (cache_folder(), None):
        found = cached(text, wanted, cache, revision)
        if found is not None and all((found / file).is_file() for file in FILES[:2]):
            return found
    if not network:
        raise CheckpointError(
            f"{text} must be on this machine, as no network was asked for",
            found=f"neither a folder nor in {cache_folder()}",
            remedy=f"put {' and '.join(FILES[:2])} into {by_hand}, or ask for the network",
        )
    return download(text, wanted, revision=revision)


def check_sums(folder: Path, sha256: str | None = None) -> None:
    """Raise an error unless the bytes are those that were published."""
    expected = {}
    if (folder / SUMS).is_file():
        rows = (folder / SUMS).read_text(encoding="utf-8").splitlines()
        expected = {name: digits for digits, _, name in (row.partition("  ") for row in rows)}
    if sha256 is not None:
        expected["model.safetensors"] = sha256.lower()
    for name, digits in expected.items():
        file = folder / Path(name).name
        found = hash_of_file(file, 64) if file.is_file() else "no file"
        if found != digits:
            raise CheckpointError(
                f"the SHA-256 of {name} must be {digits}",
                file=folder,
                found=found,
                remedy="the file was changed or cut off: fetch it again",
            )


def _card(folder: Path) -> str:
    """Return the folder's own card below the header that the hub reads."""
    import yaml

    values, kind = read_json(folder / "config.json"), kind_of(folder)
    header: dict[str, Any] = {
        "library_name": "hilum",
        "tags": ["medical", "3d", kind, *values["modalities"]],
    }
    if kind == "segmenter":
        header["pipeline_tag"] = "image-segmentation"
    if values.get("licence"):
        header |= {"license": "other", "license_name": values["licence"]}
    own = folder / FILES[2]
    body = own.read_text(encoding="utf-8") if own.is_file() else f"# {kind.title()}\n"
    if body.startswith("---\n"):
        return body
    return f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n\n{body}"
