"""Read an offline W&B run back from its file, without a server and without the network.

The file is a LevelDB log: a 7-byte header, then blocks of 32 KiB with records of checksum, length
and kind (whole, first, middle, last part). A run that was killed ends in the middle of a record.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hilum.core.errors import DataError

BLOCK = 32768


@dataclass
class RunLog:
    """What one run logged; sessions of a resumed run are joined in order.

    Attributes:
        id: Identity of the run.
        project: W&B project.
        name: Readable name.
        group: What ties runs together.
        job_type: Stage.
        tags: Tags.
        config: Settings, nested.
        summary: Last value or explicit scalar of each key.
        history: One row per logged step.
        files: Files that belong to the run, such as pictures.
    """

    id: str = ""
    project: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def series(self, key: str) -> list[tuple[int, float]]:
        """Return step and value of every row that has the key."""
        return [(int(r["trainer/global_step"]), r[key]) for r in self.history if key in r]


def read_run(folder: str | Path) -> RunLog:
    """Read a run folder, a `wandb` folder inside one, or one `.wandb` file."""
    path = Path(folder)
    files = [path] if path.is_file() else sorted(path.rglob("run-*.wandb"))
    if not files:
        raise DataError(
            "the folder must hold an offline W&B run",
            file=path,
            remedy="give a folder such as wandb/offline-run-...",
        )
    log = RunLog()
    for file in files:
        for record in _records(file):
            _add(log, record)
    return log


def ended(file: Path) -> bool:
    """Say whether a `.wandb` file holds the run's last record."""
    return file.exists() and any(r.WhichOneof("record_type") == "exit" for r in _records(file))


def _add(log: RunLog, record: Any) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "run":
        run = record.run
        log.id, log.project, log.name = run.run_id, run.project, run.display_name
        log.group, log.job_type, log.tags = run.run_group, run.job_type, list(run.tags)
        log.config |= _values(run.config.update)
        log.summary |= _values(run.summary.update)
    elif kind == "config":
        log.config |= _values(record.config.update)
    elif kind == "summary":
        log.summary |= _values(record.summary.update)
    elif kind == "history":
        log.history.append(_values(record.history.item))
    elif kind == "files":
        log.files += [file.path for file in record.files.files]


def _values(items: Iterable[Any]) -> dict[str, Any]:
    """Return keys and values; a picture or a table is a dictionary about its files."""
    found: dict[str, Any] = {}
    for item in items:
        *outer, last = item.nested_key or [item.key]
        here = found
        for key in outer:
            here = here.setdefault(key, {})
        here[last] = json.loads(item.value_json)
    return found


def _records(path: Path) -> Iterator[Any]:
    from wandb.proto import wandb_internal_pb2

    data = path.read_bytes()
    if not data:
        return  # the run has only just begun
    if data[:4] != b":W&B":
        raise DataError(
            "the file must be an offline W&B run",
            file=path,
            remedy="give the .wandb file of the run",
        )
    position, parts = 7, b""
    while position + 7 <= len(data):
        left = BLOCK - position % BLOCK
        length, kind = struct.unpack("<HB", data[position + 4 : position + 7])
        if left < 7 or (kind == 0 and length == 0):
            position += left
            continue
        chunk = data[position + 7 : position + 7 + length]
        position += 7 + length
        if len(chunk) < length:
            return
        parts = chunk if kind in (1, 2) else parts + chunk
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()  # pyright: ignore[reportAttributeAccessIssue]
            record.ParseFromString(parts)
            yield record
