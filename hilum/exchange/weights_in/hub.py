"""Find files that go by a name on HuggingFace's hub: put there by hand, cached, or downloaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hilum.core.errors import CheckpointError, UserError

CACHE = "HILUM_CACHE"
"""Environment variable: the folder that holds networks by name."""

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""What a repository keeps its weights in, the safer first."""

ENDINGS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".model")


class HubName(NamedTuple):
    """What `owner/name[/file][@revision]` says.

    Attributes:
        repo: `owner/name`.
        file: Path of one file inside, or nothing for weights and `config.json`.
        revision: Branch, tag or commit, or nothing for the main branch.
    """

    repo: str
    file: str
    revision: str | None


def cache_folder() -> Path:
    """Return the folder of networks by name: `HILUM_CACHE`, else below the user's cache."""
    chosen = os.environ.get(CACHE)
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hilum"


def place_of(repo: str, revision: str | None = None) -> Path:
    """Return where a user puts the files of a repository by hand; a revision has its own place."""
    version = f"@{revision}" if revision else ""
    return cache_folder() / f"{repo}{version}".replace("/", "--")


def parse_name(text: str) -> HubName | None:
    """Read a name on the hub, or return nothing if the text cannot be one.

    Examples:
        >>> parse_name("timm/resnet18.a1_in1k")
        HubName(repo='timm/resnet18.a1_in1k', file='', revision=None)
        >>> parse_name("owner/name/fold_0/checkpoint_final.pth@v2")
        HubName(repo='owner/name', file='fold_0/checkpoint_final.pth', revision='v2')
        >>> parse_name("weights/best.pth"), parse_name("./weights"), parse_name("weights")
        (None, None, None)
    """
    text, _, revision = text.partition("@")
    parts = text.split("/")
    if text.startswith((".", "/", "~")) or len(parts) < 2 or not all(parts):
        return None
    if len(parts) == 2 and text.endswith(ENDINGS):
        return None  # a file in a folder
    return HubName("/".join(parts[:2]), "/".join(parts[2:]), revision or None)


def find_weights(path: str | Path, *, network: bool = False) -> Path:
    """Return the file or folder of weights that a path or a name on the hub stands for.

    Looks for the path itself, then for `HILUM_CACHE/owner--name[@revision]`, then into
    HuggingFace's cache inside `HILUM_CACHE` and at its usual place; downloads only if told to.

    Args:
        path: File, folder, or `owner/name[/file][@revision]`.
        network: Whether it may be downloaded.

    Raises:
        CheckpointError: If it is nowhere; says where to put it by hand.
    """
    local = Path(path)
    name = None if local.exists() else parse_name(str(path))
    if name is None:
        return local
    check_repo(name.repo)
    by_hand = place_of(name.repo, name.revision)
    if _complete(by_hand, name):
        return by_hand / name.file
    for cache in (cache_folder(), None):
        found = _cached(name, cache)
        if found is not None and _complete(found, name):
            return found / name.file
    what = name.file or f"{WEIGHTS[0]} and config.json"
    if not network:
        raise CheckpointError(
            "the weights must be on this machine, as no network was asked for",
            file=path,
            found=f"no such path, and nothing by that name in {cache_folder()}",
            remedy=f"put {what} into {by_hand}, or download them: import-weights --network",
        )
    wanted = [[name.file]] if name.file else [[WEIGHTS[0], "config.json"], [*WEIGHTS]]
    for files in wanted:
        found = download(name.repo, files, revision=name.revision)
        if _complete(found, name):
            return found / name.file
    raise CheckpointError(
        f"{name.repo} must hold {name.file or ' or '.join(WEIGHTS)}",
        file=path,
        remedy="give the file's name, too, as in owner/name/file.pth",
    )


def download(repo: str, files: Sequence[str], *, revision: str | None = None) -> Path:
    """Download files of a repository into `HILUM_CACHE`, and return their folder.

    Raises:
        CheckpointError: If it is not within reach; says where to put them by hand.
    """
    try:
        return Path(
            _hub().snapshot_download(
                repo, revision=revision, cache_dir=cache_folder(), allow_patterns=list(files)
            )
        )
    except Exception as error:
        raise CheckpointError(
            f"{repo} must be on the hub and within reach",
            found=" ".join(str(error).split())[:200],
            remedy=f"put {' and '.join(files[:2])} into {place_of(repo, revision)}",
        ) from None


def cached(
    repo: str, files: Sequence[str], cache: Path | None, revision: str | None
) -> Path | None:
    """Return the folder of a repository in one of HuggingFace's caches, or nothing."""
    try:
        return Path(
            _hub().snapshot_download(
                repo,
                revision=revision,
                cache_dir=cache,
                local_files_only=True,
                allow_patterns=list(files),
            )
        )
    except (OSError, ValueError):
        return None


def check_repo(repo: str) -> None:
    """Raise an error unless a name could be one of a repository."""
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
        if repo.count("/") != 1:
            raise ValueError(repo)
    except ValueError:
        raise CheckpointError(
            "a name on the hub must be written owner/name",
            found=repr(repo),
            remedy="as in timm/resnet50.a1_in1k",
        ) from None


def _cached(name: HubName, cache: Path | None) -> Path | None:
    return cached(name.repo, [name.file] if name.file else [*WEIGHTS, "config.json"], cache,
                  name.revision)  # fmt: skip


def _complete(folder: Path, name: HubName) -> bool:
    if name.file:
        return (folder / name.file).is_file()
    return any((folder / file).is_file() for file in WEIGHTS)


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise UserError(
            "the hub needs huggingface_hub", remedy="pip install huggingface_hub"
        ) from None
    return huggingface_hub
