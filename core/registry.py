"""Build a component from its name and parameters, as in `{"name": "early"}`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

from .errors import SettingsError, did_you_mean

T = TypeVar("T")


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
    name = str(params.pop("name", None))
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
