"""Files that are either whole or absent: written next to their place, then renamed into it."""

from __future__ import annotations

import errno
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DataError, DiskError, UserError
from .parts import mend, part_of, place_of, put_file, put_folder
from .plain import PlainError, json_of, rows_of


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary file next to `path`; it takes the place of `path` when the block succeeds.

    A reader therefore sees the old file or the new one, never a part. When the block fails, a full
    disk included, the temporary file is removed and the old one stays. A link stays a link.
    """
    try:
        path = place_of(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # The ending is kept, since nibabel and Pillow choose the format by it.
        ending = "".join(path.suffixes[-2:]) if path.name.endswith(".gz") else path.suffix
        with part_of(path, ending) as part:
            yield part
            put_file(part, path)
    except OSError as error:
        raise full_disk(error, path) from error


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder next to `path`; it replaces `path` when the block succeeds.

    There is a whole folder under the name at any time, once there was one; see `parts`. What a
    killed writer of this folder left is removed first. A link to a folder stays a link.
    """
    try:
        path = place_of(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        mend(path)
        with part_of(path, folder=True) as part:
            yield part
            put_folder(part, path)
    except OSError as error:
        raise full_disk(error, path) from error


def full_disk(error: OSError, path: str | Path) -> Exception:
    """Return the error to raise instead of `error`: one line with a remedy where there is one."""
    name = errno.errorcode.get(error.errno or 0, "")
    # numpy says no more than how many items it could not write.
    if error.errno is None and re.fullmatch(r"\d+ requested and \d+ written", str(error)):
        name = "ENOSPC"
    if name not in _REMEDIES:
        return error
    kind, rule, remedy = _REMEDIES[name]
    return kind(rule, file=path, found=error.strerror or error, remedy=remedy)


_REMEDIES: dict[str, tuple[type[UserError], str, str]] = {
    "ENOSPC": (DiskError, "the disk must have room", "free some space and run the command again"),
    "EDQUOT": (DiskError, "the disk quota must have room", "free some space and run it again"),
    "EROFS": (DiskError, "the folder must be writable", "choose another output folder"),
    "EACCES": (DiskError, "the folder must be writable", "mend its permissions or choose another"),
    "EPERM": (DiskError, "the folder must be writable", "mend its permissions or choose another"),
    "EMFILE": (DiskError, "more files must be allowed to be open", "raise it: ulimit -n 65536"),
    "EBUSY": (DiskError, "the folder must not be a mount point", "choose a folder inside it"),
    "EXDEV": (DiskError, "the folder must not be a mount point", "choose a folder inside it"),
    # Of this one file: others may fare better.
    "ENAMETOOLONG": (DataError, "the name must not be too long", "choose a shorter one"),
    "ENOTDIR": (DataError, "the path must lead through folders", "choose another output folder"),
}


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
        return json_of(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError("no such file", file=path, remedy="check the path") from error
    except OSError as error:
        raise UserError(
            "the file must be readable",
            file=path,
            found=error.strerror,
            remedy="check who may read it",
        ) from error
    except PlainError as error:
        raise UserError(
            "the file must be JSON",
            file=path,
            found=error,
            remedy="restore it, or make it again by its command",
        ) from None


def read_object(path: str | Path) -> dict[str, Any]:
    """Read JSON that must hold keys and values, as every file of ours does."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(
            "the file must hold keys and values",
            file=path,
            found=str(value)[:60],
            remedy="restore it, or make it again by its command",
        )
    return value


def read_rows(
    path: str | Path, wanted: Callable[[str], bool] = lambda line: True
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file with a mapping in each line; see `plain.rows_of`."""
    try:
        yield from rows_of(Path(path).read_text(encoding="utf-8"), wanted)
    except FileNotFoundError as error:
        raise UserError("no such file", file=path, remedy="check the path") from error
    except (PlainError, UnicodeDecodeError) as error:
        raise UserError(
            "the file must hold JSON in each line",
            file=path,
            found=error,
            remedy="restore it, or make it again by its command",
        ) from None


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
