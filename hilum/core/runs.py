"""A run folder: what ran, how far it came, and whether it is done.

Rerunning a command on its folder resumes, or finds `DONE` and says so. Two processes never work in
one folder: a lock names host and process, and a dead runner's lock is taken over. A file `stop` in
the folder asks its runner, wherever it is, to save and end.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .continued import (
    LONGER,
    OTHER,
    Changes,
    check_continuation,
    in_words,
    legs_of,
    note_continuation,
)
from .errors import RunError, Stopped, StoreError
from .files import write_json, write_text
from .locks import Lock, Watch, take
from .parts import is_part, sweep
from .settings import Settings, read_yaml, write_yaml
from .side_files import read_side

RUNTIME_ONLY = {"workers", "threads", "tracking"}
"""Settings that may differ when a run resumes: they change where and how fast, not what."""


BESIDE = {"lock", "lock.claim", "cell.json", "failed.json", "log.txt", "stop"}
"""Files that a study or a lock puts into a folder before the run does."""

BEFORE_A_STEP = {"config.yaml", "status.json", "data.json", "split.json", "load_report.json"}
"""Files of a run that has not trained."""

WATCH = Watch()
"""What this process has seen of other runners' heartbeats."""


class RunFolder:
    """One run on disk; open it with `RunFolder.open`.

    Attributes:
        path: The folder.
        command: Name of the command that made it, such as `pretrain`.
        follower: Whether another process has the folder, and this one only looks.
    """

    def __init__(self, path: Path, command: str) -> None:
        self.path, self.command = path, command
        self._last_beat = 0.0
        self._lock: Lock | None = None
        self.follower = False

    @classmethod
    @contextmanager
    def open(
        cls,
        path: str | Path,
        settings: Settings,
        command: str,
        *,
        data: str = "",
        follower: bool = False,
    ) -> Iterator[RunFolder]:
        """Enter a run: check that the folder is ours and free, lock it, note how it ends.

        Args:
            path: Folder of the run; made if absent.
            settings: Resolved settings. A folder that holds others is an error, but for those of
                `continued`, with which the run goes on.
            command: Name of the command.
            data: Fingerprint of the case store. A run goes on with the same data wherever the store
                lies now, and with no other data.
            follower: Whether this process only helps the one that has the folder; it writes
                nothing and locks nothing.

        Raises:
            RunError: If the folder holds another run, or a living process works in it.
            StoreError: If the run began with other data.
        """
        run = cls(Path(path), command)
        run.follower = follower
        if follower:
            yield run
            return
        run.path.mkdir(parents=True, exist_ok=True)
        changes = run._claim(settings, data)
        (run.path / "stop").unlink(missing_ok=True)
        run._lock = take(run.path / "lock", WATCH)
        run._lock.keep(run._obey)
        sweep(run.path)
        try:
            if changes:
                note_continuation(run.path, changes)
                (run.path / "DONE").unlink(missing_ok=True)
            write_yaml(run.path / "config.yaml", settings)
            if data:
                run.note_data(fingerprint=data)
            if not run.done:
                run._state("running")
            yield run
        except (Stopped, KeyboardInterrupt) as stop:
            run._state("interrupted", message=str(stop) or "Ctrl-C")
            raise
        except BaseException as error:
            if run._lock.lost:  # the folder is another runner's now, and so is its status
                raise
            run._state("failed", message=f"{type(error).__name__}: {error}")
            raise
        finally:
            run._lock.release()

    @staticmethod
    def in_use(path: Path) -> bool:
        """Say whether a living process works in a folder."""
        return WATCH.owner(path / "lock") is not None

    @property
    def done(self) -> bool:
        """Whether the run ended well."""
        return (self.path / "DONE").exists()

    @property
    def checkpoint(self) -> Path | None:
        """The checkpoint to resume from, or `None` at the start."""
        last = self.path / "checkpoints" / "last.ckpt"
        return last if last.exists() else None

    @property
    def summary(self) -> dict[str, Any]:
        """What a done run gave to `finish`."""
        return read_side(self.path / "summary.json")

    @property
    def data(self) -> dict[str, Any]:
        """What is noted of the data that the run began with."""
        file = self.path / "data.json"
        return read_side(file) if file.exists() else {}

    def note_data(self, **about: Any) -> None:
        """Add to what is noted of the run's data."""
        write_json(self.path / "data.json", self.data | about)

    def heartbeat(self, step: int, steps: int, **numbers: float) -> None:
        """Say how far the run is; at most one write every five seconds, so call it at each step."""
        now = time.monotonic()
        if self.follower:
            return
        if now - self._last_beat >= 5 or step >= steps:
            self._last_beat = now
            self._own()
            self._state("running", step=step, steps=steps, **numbers)

    def finish(self, summary: dict[str, Any]) -> None:
        """Write `summary.json`, then `DONE` as the very last thing."""
        self._own()
        legs = legs_of(self.path)
        write_json(self.path / "summary.json", summary | ({"continued": legs} if legs else {}))
        self._state("done")
        write_text(self.path / "DONE", time.strftime("%Y-%m-%dT%H:%M:%SZ\n", time.gmtime()))

    def _claim(self, settings: Settings, data: str) -> Changes:
        """Check that the folder may be used; return what the run is to go on with, if anything."""
        config = self.path / "config.yaml"
        if not config.exists():
            names = [p.name for p in self.path.iterdir()]
            # A runner that was killed while it wrote leaves a part behind.
            strangers = [n for n in names if n not in BESIDE and not is_part(n)]
            if strangers:
                raise RunError(
                    "a new run needs an empty folder",
                    file=self.path,
                    found=", ".join(sorted(strangers)[:3]),
                    remedy="choose another output folder",
                )
            return {}
        if self._never_began():
            return {}
        before = self.data.get("fingerprint", "")
        if data and before and data != before:
            raise StoreError(
                "the store must be the one that the run began with",
                file=self.path,
                found=f"fingerprint {data}, not {before}",
                remedy="begin a new run, or bring the old store back",
            )
        free = RUNTIME_ONLY | ({"store"} if data and data == before else set())
        old, new = _flat(_filled(config, settings)), _flat(json.loads(settings.model_dump_json()))
        changed: Changes = {
            key: (old.get(key), new.get(key))
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key) and not free & set(key.split("."))
        }
        if changed and set(changed) <= {*LONGER, *OTHER}:
            check_continuation(
                self.path, changed, self.summary.get("ended_by") if self.done else None
            )
            return changed
        if changed:
            raise RunError(
                "the folder holds a run with other settings",
                file=self.path,
                found=in_words(dict([*changed.items()][:4])),
                remedy="choose another output folder, or repeat it with -c "
                f"{self.path / 'config.yaml'}",
            )
        return changed

    def _never_began(self) -> bool:
        """Forget a run that failed before its first step, as on a misspelt name; say whether so.

        Nothing is lost, and the corrected command may use the folder.
        """
        status = self.path / "status.json"
        if not status.exists() or read_side(status).get("state") != "failed":
            return False
        if {p.name for p in self.path.iterdir()} - BEFORE_A_STEP - BESIDE:
            return False
        for name in BEFORE_A_STEP:
            (self.path / name).unlink(missing_ok=True)
        return True

    def _own(self) -> None:
        """End at once if another runner has taken the folder over."""
        if self._lock is not None and not self._lock.beat():
            raise RunError(
                "the folder must not be in use",
                file=self.path,
                found="another runner, which took it over while this process was silent",
                remedy="let that one go on",
            )

    def _obey(self) -> None:
        """Stop as after SIGTERM when the folder holds a file `stop`; runs in the lock's thread."""
        stop = self.path / "stop"
        if stop.exists():
            stop.unlink(missing_ok=True)
            os.kill(os.getpid(), signal.SIGTERM)

    def _state(self, state: str, **more: Any) -> None:
        write_json(
            self.path / "status.json",
            {
                "state": state,
                "command": self.command,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "heartbeat": time.time(),
                **more,
            },
        )


def _filled(config: Path, settings: Settings) -> dict[str, Any]:
    """Return the settings of a run, with the defaults of those that did not exist when it began."""
    old = read_yaml(config)
    try:
        return json.loads(type(settings).model_validate(old).model_dump_json())
    except ValidationError:
        return old


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return `{"a": {"b": 1}}` as `{"a.b": 1}`."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        flat |= _flat(item, f"{name}.") if isinstance(item, dict) and item else {name: item}
    return flat
