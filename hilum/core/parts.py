"""Parts: what is written next to its place, then renamed into it; and what a killed writer left.

A part is called `.part-<place>-<chance>`, where `place` is a hash of the name that it will have.
Its writer holds an advisory lock on it for as long as it lives, so that whoever comes next can tell
a part that is being written from one that nobody will finish.

A folder takes the place of another by an exchange of the two names in one step of the file system
(`renameat2` with `RENAME_EXCHANGE`, Linux 3.15), so that there is always a whole one under the
name. Where the file system has no such step (NFS, macOS), the old folder is renamed to
`.old-<place>-...` first; if the writer dies between the two steps, the next one puts it back.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART, OLD = ".part-", ".old-"

FORGOTTEN_S = 86400.0
"""Where locks are not known, a part is left behind if nobody touched it for a day."""

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def is_part(name: str) -> bool:
    """Say whether a name is that of a part, or of what a part is about to replace."""
    return name.startswith((PART, OLD))


def place_of(path: str | Path) -> Path:
    """Return where something is written: a link stays a link, and what it points to is replaced."""
    path = Path(path)
    return Path(os.path.realpath(path)) if path.is_symlink() else path


@contextmanager
def part_of(path: Path, ending: str = "", *, folder: bool = False) -> Iterator[Path]:
    """Give an empty file or folder next to `path`, held until the block ends, then removed."""
    part = _name(path, PART, ending)
    if folder:
        part.mkdir()
        handle = os.open(part, os.O_RDONLY)
    else:
        handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
    try:
        with contextlib.suppress(OSError):  # not on every file system
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield part
    finally:
        _remove(part)
        os.close(handle)


def put_file(part: Path, path: Path) -> None:
    """Let a file take the place of another; a crash of the machine leaves one of them whole."""
    part.chmod(0o666 & ~umask())
    # What lies inside another part is made safe when that one is put into place.
    if not any(is_part(parent.name) for parent in path.parents):
        _to_disk(part)
    part.replace(path)


def put_folder(part: Path, path: Path) -> None:
    """Let a folder take the place of another, if there is one; what it replaces is removed."""
    part.chmod(0o777 & ~umask())
    inside = any(is_part(parent.name) for parent in path.parents)
    for folder, _, files in [] if inside else os.walk(part):
        for name in files:
            _finished(Path(folder, name))
        _to_disk(Path(folder))
    if not path.exists():
        part.replace(path)
    elif not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    elif _exchange(part, path):
        _remove(part)
    else:
        old = _name(path, OLD)
        path.replace(old)
        part.replace(path)
        _remove(old)


def mend(path: Path) -> None:
    """Remove what dead writers of `path` left next to it; put back what they were replacing."""
    for entry in _beside(path.parent):
        if f"-{_key(path.name)}-" not in entry.name:
            continue
        if entry.name.startswith(OLD) and not path.exists():
            with contextlib.suppress(OSError):
                entry.replace(path)
        elif _is_left(entry):
            _remove(entry)


def sweep(folder: Path) -> None:
    """Remove what dead writers left anywhere inside a folder.

    A folder that a writer was replacing is put back only by the next writer of its name: `mend`.
    """
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            entry = Path(place, name)
            if name.startswith(PART) and _is_left(entry):
                _remove(entry)
        folders[:] = [name for name in folders if not is_part(name)]


def umask() -> int:
    """Return the mode bits that this process takes away from new files."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _name(path: Path, kind: str, ending: str = "") -> Path:
    return path.with_name(f"{kind}{_key(path.name)}-{secrets.token_hex(4)}{ending}")


def _key(name: str) -> str:
    """Return a short word for a name, which may itself be as long as a name can be."""
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:8]


def _beside(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if is_part(entry.name)]
    except OSError:
        return []


def _is_left(part: Path) -> bool:
    """Say whether nobody writes a part any more."""
    try:
        handle = os.open(part, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return time.time() - os.fstat(handle).st_mtime > FORGOTTEN_S
    finally:
        os.close(handle)
    return True


def _remove(part: Path) -> None:
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part, ignore_errors=True)
    else:
        part.unlink(missing_ok=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; say whether this system and file system can."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    names = _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other)
    if rename(*names, _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), str(other))


def _finished(file: Path) -> None:
    """Give a file that some library made for its owner alone the usual mode, and save it."""
    about = file.lstat()
    if about.st_nlink > 1 or file.is_symlink():  # it lies elsewhere, too, and is not ours to change
        return
    if about.st_mode & 0o777 == 0o600:
        file.chmod(0o666 & ~umask())
    _to_disk(file)


def _to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # some network disks cannot do this with folders
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(handle)
