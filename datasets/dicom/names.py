"""Which class a region belongs to, by its name: globs, or regular expressions after `re:`."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

from hilum.core.errors import SettingsError
from hilum.core.notes import Note

REGEX = "re:"
Table = list[tuple[re.Pattern[str], int]]
_LOOKS_REGEX = re.compile(r"\.[*+?]|\\|\||\^|\$|\(")


def table_of(names: Mapping[str, int]) -> Table:
    """Return the compiled table: a pattern for the whole name, whatever its case, and its class.

    `*`, `?` and `[...]` mean what they mean in a shell; a name that is equal fits as well, so that
    brackets of a name need no care. After `re:` comes a regular expression.

    Raises:
        SettingsError: If a pattern or a class is no good.
    """
    table: Table = []
    for pattern, value in names.items():
        text = f"{re.escape(pattern)}|{fnmatch.translate(pattern)}"
        if pattern.startswith(REGEX):
            text = pattern.removeprefix(REGEX)
        try:
            compiled = re.compile(text, re.IGNORECASE)
        except re.error as error:
            raise SettingsError(
                "a name after re: must be a regular expression",
                found=repr(pattern),
                remedy=f"{error}; put a backslash before + ( ) [ ] * ? to mean the sign itself",
            ) from error
        if not 0 <= value <= 254:
            raise SettingsError(
                "a class must be from 0 to 254",
                found=f"{pattern!r}: {value}",
                remedy="number the classes from 1 on; 0 leaves a name out",
            )
        table.append((compiled, value))
    return table


def line_of(table: Table, name: str) -> int | None:
    """Return the first line of the table that fits a name."""
    return next((i for i, (pattern, _) in enumerate(table) if pattern.fullmatch(name)), None)


def overlaps(names: Mapping[str, int], table: Table, found: Iterable[str]) -> list[Note]:
    """Return a note for each name that patterns of different classes fit; the first counts."""
    patterns, notes = list(names.items()), []
    for name in dict.fromkeys(found):
        fits = [patterns[i] for i, (pattern, _) in enumerate(table) if pattern.fullmatch(name)]
        if len({value for _, value in fits}) > 1:
            listed = ", ".join(f"{pattern} ({value})" for pattern, value in fits)
            text = f"{name!r} fits {listed}: the first counts"
            notes.append(Note("warning", "names that fit several patterns", text))
    return notes


def unused(names: Mapping[str, int], found: Sequence[str]) -> list[Note]:
    """Return a note if patterns fit no region of a whole cohort, or never come first.

    Args:
        names: Class of each pattern.
        found: Names of all regions.
    """
    table, every = table_of(names), list(dict.fromkeys(found))
    first = {line_of(table, name) for name in every}
    notes = []
    for number, (pattern, (compiled, _)) in enumerate(zip(names, table, strict=True)):
        if number in first:
            continue
        if any(compiled.fullmatch(name) for name in every):
            text = f"{pattern!r} fits only regions that patterns before it take"
        else:
            text = f"{pattern!r} fits no region of any case: {_listed(every)}"
        notes.append(Note("warning", "patterns of labels that fit no region", text))
    return notes


def _listed(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(map(repr, names[:most])) or "there is none") + more


def remedy(names: Mapping[str, int], found: Sequence[str]) -> str:
    """Return what to add to the command line, ready to be pasted into a shell."""
    example = json.dumps(dict.fromkeys(found[:1], 1) or {"GTVn*": 1}, ensure_ascii=False)
    text = f"say which count, and which not (0), as in {shlex.quote(f'labels={example}')}"
    if any(_LOOKS_REGEX.search(p) for p in names if not p.startswith(REGEX)):
        text += f"; patterns are globs, and {REGEX} begins a regular expression"
    return text
