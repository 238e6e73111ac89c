"""Settings: pydantic models, YAML files and `key=value` overrides, with one-line errors."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from .errors import SettingsError, did_you_mean
from .files import write_text
from .methods import methods_of, spelled_out
from .plain import PlainError, yaml_of
from .recipes import find_recipe

PLANNED = "# hilum plan "
"""How a file of `hilum plan` begins: settings of fine-tuning, of which others take their part."""


class Settings(BaseModel):
    """Base of every group of settings: unknown keys are errors, values do not change.

    Give each field bounds, a description and its unit: the same text feeds `--help`, the docs
    and the JSON schema.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, coerce_numbers_to_str=True
    )

    planned: ClassVar[tuple[str, ...] | None] = None
    """Settings to take from a file of `hilum plan`, with dots for groups; None: all that it has."""

    @model_validator(mode="before")
    @classmethod
    def _words(cls, values: Any) -> Any:
        """Take words that YAML reads as numbers or truth values, such as 32, on and off."""
        if not isinstance(values, Mapping):
            return values
        fields = cls.model_fields
        return {k: _word(fields[k].annotation, v) if k in fields else v for k, v in values.items()}


LONGEST = 80
"""Characters of a wrong value that a message shows."""
S = TypeVar("S", bound=Settings)


def load(
    cls: type[S], files: Sequence[str | Path] = (), overrides: Sequence[str] = (), **values: Any
) -> S:
    """Read settings; later sources win: files in order, then `values`, then `key=value` overrides.

    What settings do not take of a file of `hilum plan` is printed, to standard error.

    Args:
        cls: The model to build.
        files: YAML files, or names of recipes of the room that the settings belong to.
        overrides: `key=value`, the key with dots for groups, the value in YAML.
        **values: Top-level values that the caller knows, such as the output folder.

    Raises:
        SettingsError: One line per mistake, with the nearest known key.
    """
    methods = methods_of(cls)
    layers = [_own(cls, find_recipe(file, _room(cls))) for file in files] + [values]
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign or not key:
            raise SettingsError(
                "a setting must be written key=value", found=repr(override), remedy="as in seed=1"
            )
        try:
            value = yaml_of(text) if text else None
        except PlainError as error:
            raise SettingsError(
                f"{key} must be a YAML value",
                found=f"{text[:60]!r}: {error}",
                remedy="put names with signs such as ? in double quotes, all of it in single ones",
            ) from error
        for part in reversed(key.split(".")):
            value = {part: value}
        layers.append(value)  # pyright: ignore[reportArgumentType]
    return validate(cls, merged(*(spelled_out(layer, methods) for layer in layers)))


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return groups of settings in one: of each setting the last, and a group setting by setting.

    Another method has other parameters, so one of another name starts from nothing. What comes out
    shares no group with what went in.

    Examples:
        >>> merged({"loss": {"name": "tversky", "alpha": 0.3}}, {"loss": {"name": "cc"}, "seed": 1})
        {'loss': {'name': 'cc'}, 'seed': 1}
        >>> merged({"trainer": {"steps": 9, "workers": 2}}, {"trainer": {"steps": 5}})
        {'trainer': {'steps': 5, 'workers': 2}}
    """
    found: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if isinstance(value, Mapping):
                old = found.get(key)
                group = old if isinstance(old, dict) else {}
                renamed = "name" in value and group.get("name") not in (None, value["name"])
                found[key] = merged({} if renamed else group, value)
            else:
                found[key] = [*value] if isinstance(value, list) else value
    return found


def validate(cls: type[S], values: Mapping[str, Any]) -> S:
    """Build settings from plain values, with errors that a user can read."""
    if not isinstance(values, Mapping):
        raise SettingsError(
            "settings must be keys and values", found=repr(values)[:60], remedy="as in {seed: 1}"
        )
    try:
        return cls.model_validate(dict(values))
    except ValidationError as error:
        raise SettingsError("\n".join(_line(cls, item) for item in error.errors())) from None


def flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield settings of any depth with dots between groups."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{key}.")
        else:
            yield before + key, value


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that must hold a mapping; an empty file is an empty one."""
    try:
        value = yaml_of(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            "no such settings file", file=path, remedy="check the path, or the name of the recipe"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            "the settings file must be readable",
            file=path,
            found=error,
            remedy="check who may read it, and save it as UTF-8",
        ) from None
    except PlainError as error:
        raise SettingsError(
            "the settings file must be YAML",
            file=path,
            found=error,
            remedy="mend the line that is named",
        ) from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SettingsError(
            "the settings file must hold keys and values",
            file=path,
            remedy="write one `key: value` per line",
        )
    return value


def write_yaml(path: str | Path, settings: BaseModel) -> None:
    """Write resolved settings such that `load` gives an equal object."""
    text = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_text(path, text)


def _own(cls: type[Settings], file: Path) -> dict[str, Any]:
    """Return what settings take of a file, and print what they leave of a plan."""
    values = read_yaml(file)
    if cls.planned is None or not file.read_text("utf-8").startswith(PLANNED):
        return values
    left: list[str] = []
    taken = _part(values, cls.planned, left)
    if left:
        print(f"{file}: left to hilum finetune: {', '.join(left)}", file=sys.stderr)
    return taken


def _part(
    values: Mapping[str, Any], names: Sequence[str], left: list[str], group: str = ""
) -> dict[str, Any]:
    """Return the named ones of nested values, and add the names of the others to `left`."""
    part: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{group}{key}"
        if name in names:
            part[key] = value
        elif isinstance(value, Mapping) and any(n.startswith(f"{name}.") for n in names):
            part[key] = _part(value, names, left, f"{name}.")
        else:
            left.append(name)
    return part


def _word(annotation: Any, value: Any) -> Any:
    """Return the choice that a user wrote for a value, if the field is a choice of words."""
    if type(value) not in (bool, int):
        return value
    options = [annotation, *get_args(annotation)] if annotation is not None else []
    choices = [word for o in options if get_origin(o) is Literal for word in get_args(o)]
    if value in choices:
        return value
    written = {True: ("on", "yes", "true"), False: ("off", "no", "false")}
    words = written[value] if isinstance(value, bool) else (str(value),)
    return next((word for word in words if word in choices), value)


def _line(cls: type[BaseModel], item: Any) -> str:
    """Return one readable line for one of pydantic's errors."""
    place = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        known = _keys_at(cls, item["loc"][:-1])
        return f"{place}: unknown setting{did_you_mean(str(item['loc'][-1]), known)}"
    # A rule on several settings gets all of its group, which says nothing that its words do not.
    group = item["type"] == "value_error" and isinstance(item["input"], Mapping)
    found = "" if group or item["type"] == "missing" else f", found {_short(item['input'])}"
    message = item["msg"].removeprefix("Value error, ")
    where = f"{place}: " if place else ""
    return f"{where}{message[:1].lower()}{message[1:]}{found}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _keys_at(cls: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Return the settings of the group that `path` leads to."""
    here: Any = cls
    for part in path:
        field = getattr(here, "model_fields", {}).get(part)
        here = field.annotation if field else here
    return list(getattr(here, "model_fields", {}))


def _room(cls: type[BaseModel]) -> str:
    """Return the room that settings belong to: the command whose recipes are meant."""
    return [*cls.__module__.split("."), ""][1]
