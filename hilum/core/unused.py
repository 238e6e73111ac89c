"""Settings that were given and do nothing with the others: said, since silence looks like use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from .settings import Settings

Rule = tuple[bool, Sequence[str], str]
"""Whether it holds; settings or groups, with dots, that then do nothing; why they do not."""


@dataclass(frozen=True)
class Idle:
    """Settings that do nothing.

    Attributes:
        names: Of them, with dots for groups; empty where `why` says all.
        why: They do nothing.
    """

    names: tuple[str, ...]
    why: str

    def __str__(self) -> str:
        """Return it for a user."""
        do = "does" if len(self.names) == 1 else "do"
        return f"{', '.join(self.names)} {do} nothing: {self.why}" if self.names else self.why


def given(settings: Settings) -> list[str]:
    """Return the settings that are not at their defaults, with dots for groups.

    By value and not by what was written: a study and a run that resumes write all of them.
    """
    return [*_given(settings, _usual(type(settings)))]


def unused(settings: Settings, rules: Iterable[Rule]) -> list[Idle]:
    """Return for each rule that holds what was given, each setting once."""
    left, found = given(settings), list[Idle]()
    for holds, names, why in rules:
        own = [key for key in left if holds and _named(key, names)]
        left = [key for key in left if key not in own]
        found += [Idle(tuple(own), why)] if own else []
    return found


@cache
def _usual(kind: type[Settings]) -> Mapping[str, Any]:
    """Return the defaults of settings, which nobody may change."""
    fields = kind.model_fields.items()
    return {name: f.get_default(call_default_factory=True) for name, f in fields}


def _given(settings: Settings, usual: Mapping[str, Any], group: str = "") -> Iterator[str]:
    for name, default in usual.items():
        value = getattr(settings, name)
        if isinstance(value, Settings) and type(value) is type(default):
            inner = {key: getattr(default, key) for key in type(value).model_fields}
            yield from _given(value, inner, f"{group}{name}.")
        elif value != default:
            yield f"{group}{name}"


def _named(key: str, names: Sequence[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)
