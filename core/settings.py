"""Settings: pydantic models, YAML files and `key=value` overrides, with one-line errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import SettingsError, did_you_mean
from .files import write_text


class Settings(BaseModel):
    """Base of every group of settings: unknown keys are errors, values do not change.

    Give each field bounds, a description and its unit: the same text feeds `--help`, the docs
    and the JSON schema.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


S = TypeVar("S", bound=Settings)


def load(
    cls: type[S], files: Sequence[str | Path] = (), overrides: Sequence[str] = (), **values: Any
) -> S:
    """Read settings; later sources win: files in order, then `values`, then `key=value` overrides.

    Args:
        cls: The model to build.
        files: YAML files.
        overrides: `key=value`, the key with dots for groups, the value in YAML.
        **values: Top-level values that the caller knows, such as the output folder.

    Raises:
        SettingsError: One line per mistake, with the nearest known key.
    """
    merged: dict[str, Any] = {}
    for file in files:
        _merge(merged, read_yaml(file))
    _merge(merged, values)
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign or not key:
            raise SettingsError(
                "a setting must be written key=value", found=repr(override), remedy="as in seed=1"
            )
        try:
            value = yaml.safe_load(text) if text else None
        except yaml.YAMLError as error:
            raise SettingsError(f"{key} must be a YAML value", found=repr(text)) from error
        for part in reversed(key.split(".")):
            value = {part: value}
        _merge(merged, value)  # pyright: ignore[reportArgumentType]
    return validate(cls, merged)


def validate(cls: type[S], values: Mapping[str, Any]) -> S:
    """Build settings from plain values, with errors that a user can read."""
    try:
        return cls.model_validate(dict(values))
    except ValidationError as error:
        raise SettingsError("\n".join(_line(cls, item) for item in error.errors())) from None


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that must hold a mapping; an empty file is an empty one."""
    try:
        value = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError("the settings file must exist", file=path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError("the settings file must be readable", file=path, found=error) from None
    except yaml.YAMLError as error:
        found = " ".join(str(error).split())
        raise SettingsError("the settings file must be YAML", file=path, found=found) from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SettingsError("the settings file must hold keys and values", file=path)
    return value


def write_yaml(path: str | Path, settings: BaseModel) -> None:
    """Write resolved settings such that `load` gives an equal object."""
    text = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_text(path, text)


def _merge(into: dict[str, Any], new: Mapping[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            # Another method has other parameters, so naming one starts from nothing.
            renamed = "name" in value and into[key].get("name") not in (None, value["name"])
            if renamed:
                into[key] = {}
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _line(cls: type[BaseModel], item: Any) -> str:
    """Return one readable line for one of pydantic's errors."""
    place = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        known = _keys_at(cls, item["loc"][:-1])
        return f"{place}: unknown setting{did_you_mean(str(item['loc'][-1]), known)}"
    found = "" if item["type"] == "missing" else f", found {item['input']!r}"
    message = item["msg"].removeprefix("Value error, ")
    return f"{place}: {message[:1].lower()}{message[1:]}{found}"


def _keys_at(cls: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Return the settings of the group that `path` leads to."""
    here: Any = cls
    for part in path:
        field = getattr(here, "model_fields", {}).get(part)
        here = field.annotation if field else here
    return list(getattr(here, "model_fields", {}))
