"""Words that are not used in what a person reads, with the term of the field for each."""

from __future__ import annotations

import re
from collections.abc import Collection

NOT_USED = {
    r"shares? of": "fraction of, proportion of; weight; probability",
    r"chances?": "probability",
    r"lessons?": "distillation loss",
    r"luck\w*": "random draw, sampling variability",
    r"made[- ]up": "false positive; synthetic",
    r"anew": "again",
    r"surprises?": "cross-entropy",
    r"feels?": "features",
    r"rebuil\w+": "reconstruct",
    r"(?<!at )least(?! squares)": "minimum, lower bound",
    r"greatest": "maximum, upper bound",
    r"times that": "relative CPU time",
    r"beside": "compared with, next to, in addition to",
    r"ours|theirs": "hilum's; prediction, reference",
    r"told|tells?": "report, print, show",
    r"wanted": "requested",
    r"held": "present, available",
    r"hid(?:e|es|ing|den) (?:blocks|tokens|modalit\w+)": "mask, masked patches",
    r"turned axes": "axes in another order or direction",
    r"a few moves": "operations",
    r"mended": "fixed",
    r"stands? on": "is based on",
}
"""Pattern of words, whole words only, and what is written instead."""

IN_HELP = {
    r"says?": "show, print, report",
    r"wants?": "requires",
    r"gets?": "receives",
    r"moved?": "shifted, translated",
    r"turn": "rotation",
    r"surely": "(leave out)",
}
"""Further words that help and descriptions of settings do without."""

IN_DOCSTRINGS = frozenset(NOT_USED) - {
    r"told|tells?",  # what a function tells apart, or gets told, is plain English among developers
    r"ours|theirs",  # what a method has that is not of its source
    "held",
    "wanted",
}
"""Patterns that docstrings, which the reference is made of, do without, too."""


def words_not_used(
    text: str, strict: bool = False, only: Collection[str] | None = None
) -> list[str]:
    """Return each banned word of a text with its line and the term to use.

    With `strict` those of `IN_HELP` count, too; with `only` these patterns of `NOT_USED`.
    """
    table = NOT_USED | IN_HELP if strict else NOT_USED
    if only is not None:
        table = {pattern: NOT_USED[pattern] for pattern in only}
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, term in table.items():
            for match in re.finditer(rf"\b(?:{pattern})\b", line, re.I):
                found.append(f"line {number}: {match[0]!r}, use {term}: {line.strip()[:110]}")
    return found


def prose(markdown: str) -> str:
    """Return a page without code, line for line."""
    blank = re.sub(r"```.*?```", lambda m: "\n" * m[0].count("\n"), markdown, flags=re.S)
    return re.sub(r"`[^`\n]*`|\]\([^)]*\)|<!--.*?-->", "", blank)
