"""YAML and JSON that may come from anywhere: plain values within limits, or one clear error.

Every YAML and JSON text goes through here. What a text may hold is what both can: mappings with
words as keys, lists, words, numbers of 64 bits, truth values and nothing. Dates and times stay
words, as they are written; sets, binaries and objects are refused; a text of a kilobyte cannot grow
to gigabytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import TypeAdapter, ValidationError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from .errors import UserError

DEEPEST = 64
"""Levels of lists and mappings inside each other."""

MOST = 100_000
"""Values of a YAML text, each alias counted as what it stands for."""

BITS = 64

_PLAIN = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str"))
_GROUPS = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("seq", "map"))
_MERGE = "tag:yaml.org,2002:merge"


class PlainError(ValueError):
    """A text is no YAML or JSON, or beyond the limits; the message says what, and where."""


def yaml_of(text: str) -> Any:
    """Return what a YAML text holds.

    Numbers as keys are the words that they are written as: `{10: a, on: b}` has `10` and `on`.

    Raises:
        PlainError: If it is no YAML, or not plain.

    Examples:
        >>> yaml_of("{10: 2024-01-31, x: [1, 2.5, yes], t: 8:00:00}")
        {'10': '2024-01-31', 'x': [1, 2.5, True], 't': '8:00:00'}
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node)
        return _sound(loader.construct_document(node), text)
    except yaml.YAMLError as error:
        raise PlainError(_line(error)) from None
    except (ValueError, OverflowError, RecursionError, TypeError) as error:
        raise PlainError(_line(error)) from None
    finally:
        if loader is not None:
            loader.dispose()


def json_of(text: str | bytes) -> Any:
    """Return what a JSON text holds; `NaN` and infinity are allowed, as Python writes them.

    Raises:
        PlainError: If it is no JSON, or beyond the limits.
    """
    try:
        text = text if isinstance(text, str) else text.decode("utf-8")
        value = json.loads(text, parse_int=_integer)
    except RecursionError:
        raise PlainError(f"more than {DEEPEST} levels inside each other") from None
    except ValueError as error:
        raise PlainError(_line(error)) from None
    level: list[Any] = [value]
    for _ in range(DEEPEST + 1):
        level = [item for group in level for item in _items(group)]
        if not level:
            return _sound(value, text)
    raise PlainError(f"more than {DEEPEST} levels inside each other")


def rows_of(
    text: str, wanted: Callable[[str], bool] = lambda line: True
) -> Iterator[dict[str, Any]]:
    """Yield the mappings of a text with one in each line (JSONL), of lines that are wanted.

    A last line without an end is what a runner was writing when it was killed: it is left out.

    Raises:
        PlainError: If a line is something else, with its number.
    """
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip() or not wanted(line):
            continue
        try:
            row = json_of(line)
            if not isinstance(row, dict):
                raise PlainError(f"{_kind(row)} instead of keys and values")
        except PlainError as error:
            if number == len(lines):
                return
            raise PlainError(f"line {number}: {error}") from None
        yield row


def check_shape(
    value: Any,
    shape: Any,
    *,
    file: str | Path,
    what: str,
    remedy: str | None = None,
    error: type[UserError] = UserError,
) -> None:
    """Raise an error unless the fields of a value have the types that a type asks for.

    Args:
        value: As read.
        shape: The type, such as a `TypedDict` or a list of them.
        file: Where it was read; stands in the message.
        what: What the file is, as in `a case store`.
        remedy: What the user can do.
        error: Kind of error to raise.

    Raises:
        UserError: One line that names the first field that is wrong.
    """
    try:
        _adapter(shape).validate_python(value, strict=True)
    except ValidationError as problem:
        first = problem.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        found = f"{place}: " if place else ""
        given = "" if first["type"] == "missing" else f", not {str(first['input'])[:60]!r}"
        raise error(
            f"the file must be that of {what}",
            file=file,
            found=f"{found}{first['msg'][:1].lower()}{first['msg'][1:]}{given}",
            remedy=remedy,
        ) from None


@cache
def _adapter(shape: Any) -> Any:
    return TypeAdapter(shape)


class _Loader(yaml.SafeLoader):
    """PyYAML's loader without dates and times, with limits, and with words as keys."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise PlainError(f"more than {DEEPEST} levels inside each other")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> str:
        """Leave times as they are written: 8:00:00 is no number of seconds, as YAML 1.1 has it."""
        tag = super().resolve(kind, value, implicit)
        timed = kind is ScalarNode and ":" in str(value) and tag in _PLAIN[2:4]
        return _PLAIN[-1] if timed else tag

    def construct_mapping(self, node: Node, deep: bool = False) -> dict[Hashable, Any]:
        if isinstance(node, MappingNode):
            own = [key for key, _ in node.value if key.tag != _MERGE]
            self.flatten_mapping(node)
            for key in own:
                if not isinstance(key, ScalarNode) or key.tag.endswith(":null"):
                    raise PlainError(f"a key that is no word{_at(key)}")
                key.tag = _PLAIN[-1]
            seen: set[str] = set()
            for key in own:
                if key.value in seen:
                    raise PlainError(f"the key {key.value!r} twice{_at(key)}")
                seen.add(key.value)
        return super().construct_mapping(cast(MappingNode, node), deep)

    def construct_integer(self, node: ScalarNode) -> int:
        return _integer(super().construct_yaml_int(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_integer)
_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] in (*_PLAIN, _MERGE)]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _check(root: Node) -> None:
    """Raise an error if a tree of nodes has foreign kinds, holds itself, or stands for too much."""
    sizes: dict[int, int] = {}
    inside: set[int] = set()

    def size(node: Node) -> int:
        if id(node) in inside:
            raise PlainError(f"a value that holds itself{_at(node)}")
        if id(node) not in sizes:
            if node.tag not in (*_PLAIN, *_GROUPS, _MERGE):
                raise PlainError(f"a value of the kind {node.tag.rpartition(':')[2]}{_at(node)}")
            inside.add(id(node))
            sizes[id(node)] = 1 + sum(map(size, _children(node)))
            inside.discard(id(node))
        if sizes[id(node)] > MOST:
            raise PlainError(f"more than {MOST} values, aliases counted in full{_at(node)}")
        return sizes[id(node)]

    size(root)


def _children(node: Node) -> list[Node]:
    if isinstance(node, SequenceNode):
        return list(node.value)
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return []


def _at(node: Node) -> str:
    return f" in line {node.start_mark.line + 1}" if node.start_mark else ""


def _items(group: Any) -> list[Any]:
    if isinstance(group, dict):
        return list(group.values())
    return group if isinstance(group, list) else []


def _integer(value: str | int) -> int:
    number = int(value)
    if number.bit_length() >= BITS:
        raise PlainError(f"a number of {number.bit_length()} bits; {BITS} are the most")
    return number


def _sound(value: Any, text: str) -> Any:
    """Return a value whose words can be written again: no half of a pair of code units."""
    if "\\u" in text or "\\U" in text:
        try:
            json.dumps(value, ensure_ascii=False, default=str).encode("utf-8")
        except UnicodeEncodeError:
            raise PlainError("a character that is half of a pair") from None
    return value


def _kind(value: Any) -> str:
    return {list: "a list", str: "a word", type(None): "nothing"}.get(type(value), "a number")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
