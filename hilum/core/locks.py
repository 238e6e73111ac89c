"""A lock file with a heartbeat on a shared folder; a dead owner's lock is taken over.

Clocks of different machines are not compared: a watcher looks whether the heartbeat *changes* while
its own clock runs. On the same machine the process itself is asked for.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .errors import RunError, UserError
from .files import full_disk

PART = ".part-lock-"
"""How a lock file is called before it has its name."""

BEAT_S = 10.0
"""Seconds between two heartbeats."""

SILENT_AFTER_S = 180.0
"""An owner elsewhere whose heartbeat did not change for so long is dead (NFS caches up to 60 s)."""

ANCIENT_S = 86400.0
"""A heartbeat whose date is a day old looks dead; good enough to show, never to take a lock."""


class Lock:
    """A lock that this process holds; made by `take`, ended by `release`.

    Attributes:
        path: The lock file.
        lost: Whether another runner took it over, as after a long sleep of this machine.
    """

    def __init__(self, path: Path, handle: int, owner: dict[str, Any]) -> None:
        self.path, self.lost = path, False
        self._handle, self._owner, self._beats = handle, owner, 0
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def keep(self, each: Callable[[], None] | None = None) -> None:
        """Beat in a thread until `release`; `each` is called at every beat."""

        def loop() -> None:
            while not self._end.wait(BEAT_S):
                self.beat()
                if each is not None:
                    each()

        self._thread = threading.Thread(target=loop, name="heartbeat", daemon=True)
        self._thread.start()

    def beat(self) -> bool:
        """Move the heartbeat; return whether the lock is still ours.

        It is written through the open file: after a take-over it lands in the removed file, never
        in the new owner's.
        """
        self._beats += 1
        try:
            os.pwrite(self._handle, _text({**self._owner, "beat": self._beats}), 0)
            self.lost = not os.path.samestat(os.fstat(self._handle), self.path.stat())
        except FileNotFoundError:
            self.lost = True
        except OSError:
            pass  # a full or absent disk: the next beat tries again, and silence speaks for itself
        return not self.lost

    def release(self) -> None:
        """Stop beating and remove the file, unless somebody else's lies there by now."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()
        if self.beat():
            self.path.unlink(missing_ok=True)
        os.close(self._handle)
        _HELD.discard(self._owner["token"])


class Watch:
    """Remembers heartbeats of other machines, to see whether they change."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[str, float]] = {}

    def owner(self, lock: Path) -> dict[str, Any] | None:
        """Return who holds a lock, or `None` if nobody does or the owner is dead.

        An owner elsewhere counts as alive until its heartbeat has been watched, by repeated calls,
        to stand still for `SILENT_AFTER_S`.
        """
        text, owner = read(lock)
        if text is None:
            self._seen.pop(lock, None)
            return None
        if local(owner):
            return owner if _alive(owner) else None
        now = time.monotonic()
        before, since = self._seen.get(lock, ("", now))
        if text != before:
            self._seen[lock] = (text, since := now)
        return owner if now - since < SILENT_AFTER_S else None


def take(path: Path, watch: Watch) -> Lock:
    """Take a lock, from a dead owner if need be.

    A lock of another machine is watched until its heartbeat moves or has stood still long enough.

    Raises:
        RunError: If a living process holds it, or nobody can say who does.
    """
    first = None
    while True:
        if lock := _make(path):
            return lock
        if damaged(path):
            raise RunError(
                "the lock of a folder must say who has it",
                file=path,
                found="a damaged file",
                remedy=f"if nothing works in {path.parent}, remove it and run the command again",
            )
        text, _ = read(path)
        owner = watch.owner(path)
        if owner is None:
            _clear(path, text)
            continue
        first = first or text
        if local(owner) or text != first:
            raise RunError(
                "the folder must not be in use",
                file=path.parent,
                found=f"process {owner.get('pid', '?')} on {owner.get('host', '?')}",
                remedy="wait for it, or stop it and run the command again",
            )
        time.sleep(min(1.0, SILENT_AFTER_S / 10))


def discard(locks: Sequence[Path], watch: Watch) -> None:
    """Remove locks whose owner is dead, and what runners left that were killed in taking one."""
    for folder in {lock.parent for lock in locks}:
        for part in folder.glob(f"{PART}*"):
            part.unlink(missing_ok=True)  # who is making it falls back on a plain file
    for path in locks:
        for lock in (path, _claim_of(path)):
            if lock.exists() and watch.owner(lock) is None:
                with contextlib.suppress(UserError, OSError):
                    take(lock, watch).release()


def read(path: Path) -> tuple[str | None, dict[str, Any]]:
    """Return text and content of a lock file; no text if there is none, `{}` if it is damaged."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None, {}
    except (OSError, UnicodeDecodeError):
        return "?", {}
    try:
        owner = json.loads(text)
        return text, owner if isinstance(owner, dict) else {}
    except (ValueError, RecursionError):
        return text, {}


def damaged(path: Path) -> bool:
    """Say whether a lock file does not tell its owner, and is not just being written."""
    for _ in range(4):
        text, owner = read(path)
        if text is None or owner:
            return False
        time.sleep(0.1)
    return True


def looks_dead(path: Path) -> bool:
    """Say whether a lock seems to be left over, by dates of machines whose clocks may differ."""
    try:
        return abs(time.time() - path.stat().st_mtime) > ANCIENT_S
    except OSError:
        return False


def local(owner: dict[str, Any]) -> bool:
    """Say whether an owner is a process that this one could see."""
    me = _me()
    same_space = owner.get("space", me["space"]) == me["space"]
    return owner.get("host") == me["host"] and same_space and isinstance(owner.get("pid"), int)


def _make(path: Path) -> Lock | None:
    """Make the lock file whole and at once, or return `None` if there is one."""
    owner = _me() | {"token": uuid.uuid4().hex, "beat": 0}
    try:
        handle, name = tempfile.mkstemp(prefix=PART, dir=path.parent)
    except OSError as error:
        raise full_disk(error, path) from error
    try:
        os.pwrite(handle, _text(owner), 0)
        os.link(name, path)
    except FileExistsError:
        os.close(handle)
        return None
    except OSError as error:
        os.close(handle)
        if isinstance(changed := full_disk(error, path), UserError):
            raise changed from error
        handle = _make_plain(path, owner)
        if handle is None:
            return None
    finally:
        Path(name).unlink(missing_ok=True)
    _HELD.add(owner["token"])
    return Lock(path, handle, owner)


def _make_plain(path: Path, owner: dict[str, Any]) -> int | None:
    """Make the lock file where the disk knows no hard links."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
    except FileExistsError:
        return None
    os.pwrite(handle, _text(owner), 0)
    return handle


def _clear(path: Path, dead: str | None) -> None:
    """Remove a dead owner's lock; of several runners that saw it dead only one may.

    Without the claim a slow runner would remove the lock that a quick one has just made.
    """
    claim = _claim_of(path)
    mine = _make(claim)
    if mine is None:
        if _OTHERS.owner(claim) is None:
            claim.unlink(missing_ok=True)
        time.sleep(0.05)
        return
    try:
        if read(path)[0] == dead:
            path.unlink(missing_ok=True)
    finally:
        mine.release()


def _claim_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.claim")


def _me() -> dict[str, Any]:
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    pid = os.getpid()
    return {"host": socket.gethostname(), "space": space, "pid": pid, "began": _began(pid)}


def _alive(owner: dict[str, Any]) -> bool:
    pid = owner["pid"]
    if pid == os.getpid():
        return owner.get("token") in _HELD
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return owner.get("began") in (None, _began(pid))  # else the number went to another process


def _began(pid: int) -> str | None:
    """Return when a process began, in ticks since the machine did; `None` where unknown or dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _text(owner: dict[str, Any]) -> bytes:
    """Return the owner in a fixed number of bytes, so that a beat overwrites the last one whole."""
    return json.dumps(owner).ljust(320).encode()


_HELD: set[str] = set()
_OTHERS = Watch()
