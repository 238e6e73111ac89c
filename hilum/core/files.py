"""Files that are either whole or absent: written beside their place, then renamed into it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DiskError, UserError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary file beside `path`; it takes the place of `path` when the block succeeds.

    A reader therefore sees the old file or the new one, never a part. When the block fails, a full
    disk included, the temporary file is removed and the old one stays.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The ending is kept, since nibabel and Pillow choose the format by it.
    ending = "".join(path.suffixes[-2:]) if path.name.endswith(".gz") else path.suffix
    handle, name = tempfile.mkstemp(prefix=".part-", suffix=ending, dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(0o666 & ~_umask())
        part.replace(path)
    except OSError as error:
        raise full_disk(error, path) from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; it replaces `path` when the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=path.parent))
    try:
        yield part
        part.chmod(0o777 & ~_umask())
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=".old-", dir=path.parent))
            path.replace(old / path.name)
            part.replace(path)
            shutil.rmtree(old)
        else:
            part.replace(path)
    except OSError as error:
        raise full_disk(error, path) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def full_disk(error: OSError, path: str | Path) -> Exception:
    """Return the error to raise instead of `error`: one line with a remedy where there is one."""
    remedies = {
        "ENOSPC": ("the disk must have room", "free some space and run the same command again"),
        "EDQUOT": ("the disk quota must have room", "free some space and run the command again"),
        "EROFS": ("the folder must be writable", "choose another output folder"),
        "EACCES": ("the folder must be writable", "mend its permissions or choose another folder"),
    }
    name = errno.errorcode.get(error.errno or 0, "")
    # numpy says no more than how many items it could not write.
    if error.errno is None and re.fullmatch(r"\d+ requested and \d+ written", str(error)):
        name = "ENOSPC"
    if name not in remedies:
        return error
    rule, remedy = remedies[name]
    return DiskError(rule, file=path, found=error.strerror or error, remedy=remedy)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON whole or not at all; numpy numbers and arrays, paths and tuples are allowed."""
    write_text(path, json.dumps(value, indent=1, default=_plain, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON; a missing or damaged file is one clear error."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError("the file must exist", file=path) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError("the file must be JSON", file=path, found=str(error)) from error


def write_array(path: str | Path, array: np.ndarray) -> None:
    """Write a `.npy` file whole or not at all."""
    with atomic_path(path) as part:
        np.save(part, array, allow_pickle=False)


def hash_of(value: Any, length: int = 12) -> str:
    """Return a stable hexadecimal hash of anything that JSON can hold.

    Examples:
        >>> hash_of({"a": 1, "b": 2}) == hash_of({"b": 2, "a": 1})
        True
    """
    text = json.dumps(value, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def hash_of_file(path: str | Path, length: int = 12) -> str:
    """Return a hexadecimal hash of the bytes of a file."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:length]


def _plain(value: Any) -> Any:
    kinds: list[tuple[type, Callable[[Any], Any]]] = [
        (np.ndarray, np.ndarray.tolist),
        (np.generic, np.generic.item),
        (Path, str),
        (tuple, list),
    ]
    for kind, convert in kinds:
        if isinstance(value, kind):
            return convert(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
