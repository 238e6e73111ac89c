"""What the user should know of the data: records with a severity, shown where the user looks.

A note travels from where it arises (an importer, a conversion, `prepare`) to the terminal, to the
notes next to the manifest, to `hilum check` and to the case store. A JSON file alone is silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from .errors import DataError
from .files import read_json, write_json

Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""The gravest first."""

NAMED = 3
"""Cases that one line names; the file of notes has all of them."""


@dataclass(frozen=True)
class Note:
    """Something that changed the data, or that the user should know of it.

    Attributes:
        severity: `info`: done as intended; `warning`: look at it, and `--strict` fails; `error`:
            the data is wrong or lost.
        kind: What happened, in words that all cases share: notes of one kind become one line.
        text: What happened in this case, with numbers.
        case: Its name; empty: the cohort.
    """

    severity: Severity
    kind: str
    text: str
    case: str = ""

    def __str__(self) -> str:
        """Return the note as one line without its severity."""
        return f"{self.case}: {self.text}" if self.case else self.text

    def as_json(self) -> dict[str, str]:
        """Return a plain record that `from_json` reads back."""
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any] | str) -> Note:
        """Read what `as_json` wrote; plain text, as stores of before hold, is a warning.

        Raises:
            KeyError: If a part is missing.
            ValueError: If the severity is none of the three.
        """
        if isinstance(value, str):
            return Note("warning", "note of an earlier version", value)
        if value["severity"] not in SEVERITIES:
            raise ValueError(f"unknown severity {value['severity']!r}")
        severity = cast(Severity, value["severity"])
        return Note(severity, str(value["kind"]), str(value["text"]), str(value.get("case", "")))


def grouped(notes: Iterable[Note], named: int = NAMED) -> list[str]:
    """Return one line for each severity and kind, the gravest first.

    One case is told in full; of several, the line has their number, the kind, and the first few
    cases.

    Examples:
        >>> grouped([Note("warning", "HU clipped", f"{n} voxels", f"p{n}") for n in (1, 2)])
        ['warning: 2 cases: HU clipped (p1: 1 voxels; p2: 2 voxels)']
        >>> grouped([Note("info", "PET moved", "pet moved by 3 mm", "p1")])
        ['info: p1: pet moved by 3 mm']
    """
    groups: dict[tuple[int, str], list[Note]] = {}
    for note in dict.fromkeys(notes):
        groups.setdefault((SEVERITIES.index(note.severity), note.kind), []).append(note)
    return [_line(groups[key], named) for key in sorted(groups, key=lambda key: key[0])]


def _line(notes: Sequence[Note], named: int) -> str:
    first = notes[0]
    cases = list(dict.fromkeys(note.case for note in notes))
    if len(notes) == 1:
        return f"{first.severity}: {first}"
    who = f"{len(cases)} cases" if len(cases) > 1 else cases[0] or f"{len(notes)} times"
    if len(cases) > 1:
        one_each = {note.case: str(note) for note in reversed(notes)}
        shown = [one_each[case] for case in cases]
    else:
        shown = [note.text for note in notes]
    more = [f"and {len(shown) - named} more"] if len(shown) > named else []
    return f"{first.severity}: {who}: {first.kind} ({'; '.join([*shown[:named], *more])})"


def write_notes(file: Path, notes: Iterable[Note]) -> Path:
    """Write notes as JSON, each once."""
    write_json(file, {"notes": [note.as_json() for note in dict.fromkeys(notes)]})
    return file


def read_notes(file: Path) -> list[Note]:
    """Read what `write_notes` wrote; a missing file has none.

    Raises:
        DataError: If the file holds something else.
    """
    if not file.is_file():
        return []
    value = read_json(file)
    try:
        return [Note.from_json(entry) for entry in value["notes"]]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            "the file of notes must be one that `hilum import` wrote",
            file=file,
            found=error,
            remedy="remove it, or import again",
        ) from None
