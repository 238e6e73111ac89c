"""Where methods of others come from: entry points, and what was registered here or above."""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from .sources import file_of

REGISTERED = "HILUM_REGISTERED"
"""Environment variable that tells child processes what was registered here."""


@dataclass(frozen=True)
class Origin:
    """Where an entry of a table comes from.

    Attributes:
        path: `module:attribute`; empty for an object that no file names.
        owner: Name and version of the distribution, `registered`, `path`, or empty for ours.
    """

    path: str
    owner: str = ""

    def __str__(self) -> str:
        """In words, for a listing."""
        if not self.owner:
            return "built in"
        return self.path if self.owner == "path" else f"{self.owner}, {self.path}"


@functools.cache
def offered(group: str) -> dict[str, list[Origin]]:
    """Return what installed distributions offer in a group, by name."""
    found: dict[str, list[Origin]] = {}
    for point in entry_points(group=group):
        owner = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"
        origin = Origin(point.value.partition("[")[0].strip(), owner)
        # A distribution that two folders of the path hold is offered twice.
        if origin not in found.setdefault(point.name, []):
            found[point.name].append(origin)
    return found


def inherited(kind: str) -> dict[str, str]:
    """Return what the parent process registered, as paths by name."""
    told = os.environ.get(REGISTERED)
    return json.loads(told).get(kind, {}) if told else {}


def pass_on(kind: str, name: str, path: str) -> None:
    """Tell child processes of something registered here, if they can import it."""
    module = path.partition(":")[0]
    if module and module != "__main__" and file_of(module):
        told = json.loads(os.environ.get(REGISTERED, "{}"))
        told.setdefault(kind, {})[name] = path
        os.environ[REGISTERED] = json.dumps(told)


def attribute(path: str) -> Any:
    """Import `module:attribute`."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def path_of(entry: object) -> str:
    """Return the path of a class or function of a module; empty for anything else."""
    module, name = getattr(entry, "__module__", ""), getattr(entry, "__qualname__", "")
    return f"{module}:{name}" if module and name and "." not in name else ""
