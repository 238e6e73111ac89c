"""Settings that name a method: `loss=tversky` is short for `loss={name: tversky}`."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class Method:
    """Marks a field as the name and the parameters of a method.

    Use it as in `loss: Annotated[dict[str, Any], Method("losses")]`.

    Attributes:
        kind: The table that knows the names, as in `hilum list`.
    """

    kind: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Read a name as the method of that name."""
        return core_schema.no_info_before_validator_function(named, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Let an editor take a name, too."""
        return {"anyOf": [{"type": "string"}, handler(schema)]}


def named(value: Any) -> Any:
    """Return `{"name": value}` for a word, anything else as it is.

    Examples:
        >>> named("tversky"), named({"name": "cc"})
        ({'name': 'tversky'}, {'name': 'cc'})
    """
    return {"name": value} if isinstance(value, str) else value


def methods_of(cls: type[BaseModel]) -> dict[str, str]:
    """Return the kind of every setting of a group that is a method, by the name of the setting."""
    found = {}
    for name, field in cls.model_fields.items():
        inner = [m for part in get_args(field.annotation) for m in get_args(part)]
        kinds = [m.kind for m in (*field.metadata, *inner) if isinstance(m, Method)]
        if kinds:
            found[name] = kinds[0]
    return found


def spelled_out(values: Mapping[str, Any], keys: Container[str]) -> dict[str, Any]:
    """Return settings with these methods written at length, so that parameters can join them."""
    return {key: named(value) if key in keys else value for key, value in values.items()}
