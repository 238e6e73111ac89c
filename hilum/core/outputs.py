"""Whose a folder is: a command writes into a new or empty one, or into its own of before.

Nothing that is not ours is ever destroyed: a folder that a command may write into holds a file that
says which command made it. All commands that write a folder go through here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import RunError, UserError
from .files import read_json, write_json
from .locks import Watch, take
from .parts import is_part, mend, place_of, sweep

OWNER = ".hilum.json"
"""In each folder that a command writes: which command that is."""

_NOT_CONTENT = {"lock", "lock.claim", ".DS_Store"}
_WATCH = Watch()


def check_output(
    out: str | Path,
    command: str,
    *,
    earlier: Callable[[Path], bool] | str = "",
    inputs: Sequence[str | Path] = (),
) -> None:
    """Raise an error unless a command may write into a folder.

    Args:
        out: The folder; it need not exist.
        command: Name of the command, as in `evaluate`.
        earlier: A file that no other command writes, or whether a folder without `OWNER` is an
            earlier result of the command.
        inputs: Folders that the command reads: none of them may be `out`, or lie in it.

    Raises:
        RunError: If it is a file, an input, or holds what another command or nobody known made.
    """
    out = Path(out)
    place = out.resolve()
    for given in inputs:
        path = Path(given).resolve()
        if path.exists() and (path == place or place in path.parents):
            raise RunError(
                "the output must not replace what the command reads",
                file=out,
                found=f"the input {given}",
                remedy="choose another output folder",
            )
    if not out.exists():
        return
    if not out.is_dir():
        raise RunError("the output must be a folder", file=out, remedy="choose another name")
    owner = owner_of(out)
    names = sorted(entry.name for entry in out.iterdir() if not _ignored(entry.name))
    if owner == command or not names:
        return
    if not owner and isinstance(earlier, str) and earlier and (out / earlier).is_file():
        return
    if not owner and not isinstance(earlier, str) and earlier(out):
        return
    raise RunError(
        f"the output must be a new or empty folder, or an earlier result of hilum {command}",
        file=out,
        found=f"a result of hilum {owner}" if owner else ", ".join(names[:3]),
        remedy="choose another output folder",
    )


@contextmanager
def output(
    out: str | Path,
    command: str,
    *,
    earlier: Callable[[Path], bool] | str = "",
    inputs: Sequence[str | Path] = (),
) -> Iterator[Path]:
    """Give a folder to a command alone: checked, marked as its own, locked, and without leftovers.

    Args:
        out: The folder; made if absent.
        command: As of `check_output`, like the rest.
        earlier: How to know an earlier result.
        inputs: What must not be written over.

    Raises:
        RunError: If the folder is not the command's, or another process works in it.
    """
    check_output(out, command, earlier=earlier, inputs=inputs)
    folder = place_of(out)
    new = not folder.exists()
    try:
        mark(folder, command)
        lock = take(folder / "lock", _WATCH)
        lock.keep()
        try:
            sweep(folder)
            yield Path(out)
        finally:
            lock.release()
    except BaseException:
        _forget(folder, remove=new)
        raise


def mark(folder: str | Path, command: str) -> None:
    """Write down whose a folder is, where that is not known yet; the folder is made if absent."""
    if owner_of(folder) != command:
        write_json(Path(folder) / OWNER, owned_by(command)[OWNER])


def owned_by(command: str) -> dict[str, Any]:
    """Return the file, by name, that says whose a folder is: for folders written as a whole."""
    return {OWNER: {"command": command}}


def owner_of(folder: str | Path) -> str:
    """Return the command whose a folder is; empty if that is not known."""
    about: Any = None
    with contextlib.suppress(UserError, OSError):
        about = read_json(Path(folder) / OWNER)
    return str(about.get("command", "")) if isinstance(about, dict) else ""


def check_output_file(file: str | Path, command: str, earlier: Callable[[Path], bool]) -> None:
    """Raise an error unless a command may write a file: a new one, or one of its own of before.

    Raises:
        RunError: If something else lies there.
    """
    file = Path(file)
    mend(place_of(file))
    if file.is_dir() or (file.exists() and not earlier(file)):
        raise RunError(
            f"the output must be a new file, or an earlier one of hilum {command}",
            file=file,
            found="a folder" if file.is_dir() else "a file of another origin",
            remedy="choose another name",
        )


def _forget(folder: Path, *, remove: bool) -> None:
    """Undo the mark of a command that failed before it wrote anything."""
    with contextlib.suppress(OSError):
        if {entry.name for entry in folder.iterdir()} == {OWNER}:
            (folder / OWNER).unlink()
            if remove:
                folder.rmdir()


def _ignored(name: str) -> bool:
    return name in _NOT_CONTENT or name == OWNER or is_part(name)
