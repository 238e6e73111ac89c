"""Build a component from its name and parameters, as in `{"name": "early"}`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Generic, TypeVar

from .errors import SettingsError, did_you_mean

T = TypeVar("T")


class LazyTable(Mapping[str, type[T]], Generic[T]):
    """A table whose entries import their file when they are asked for.

    For methods that stand on libraries which take seconds to import.

    Args:
        room: Name of the package; an entry `name` is in its file `name`.
        classes: Name of each entry's class.
    """

    def __init__(self, room: str, classes: Mapping[str, str]) -> None:
        self.room, self.classes = room, dict(classes)

    def __getitem__(self, name: str) -> type[T]:
        return getattr(import_module(f"{self.room}.{name}"), self.classes[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    def __contains__(self, name: object) -> bool:
        return name in self.classes


def build(table: Mapping[str, type[T]], spec: Mapping[str, Any], **context: Any) -> T:
    """Build the component that `spec` names.

    Args:
        table: Every component of one room by name; the room's `__init__` holds it.
        spec: The `name` of the component and its parameters.
        **context: What only the run knows, such as the channels of an encoder. The component gets
            those that its constructor names.

    Raises:
        SettingsError: If the name is not in the table or the component lacks a parameter.
    """
    cls, params = look_up(table, spec, context)
    accepted = inspect.signature(cls).parameters
    return cls(**params, **{key: value for key, value in context.items() if key in accepted})


def look_up(
    table: Mapping[str, type[T]], spec: Mapping[str, Any], context: Mapping[str, Any]
) -> tuple[type[T], dict[str, Any]]:
    """Return the class that `spec` names and its own parameters, checked."""
    params = dict(spec)
    if "name" not in params:
        raise SettingsError(
            "parameters need the name of what they belong to",
            found=", ".join(params) or "nothing",
            remedy=f"add name: one of {', '.join(table)}",
        )
    name = str(params.pop("name"))
    if name not in table:
        raise SettingsError(
            f"unknown name {name!r}{did_you_mean(name, table)}",
            remedy=f"choose from {', '.join(table)}",
        )
    own = [key for key in inspect.signature(table[name]).parameters if key not in context]
    for key in params:
        if key not in own:
            raise SettingsError(
                f"{name!r} has no {key!r}{did_you_mean(key, own)}",
                remedy=f"it has {', '.join(own) or 'no parameters'}",
            )
    return table[name], params
