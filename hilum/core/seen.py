"""Whom weights have learned from, in hashes that travel with them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from .errors import CheckpointError
from .files import hash_of, read_json
from .settings import Settings, validate

LENGTH = 16
"""Hexadecimal digits of each hash: a chance meeting among a million scans is one in ten million."""


class Seen(Settings):
    """The patients and scans that weights have learned from, and those that chose between weights.

    A part of the `config.json` of every folder of weights, so that each copy of it can be asked
    whether a patient may still test. It holds those of the weights that a training went on from,
    too. Hashes keep names out of what is handed on; whoever has a name can look it up.
    """

    patients: tuple[str, ...] = Field((), description="hash of each patient's name")
    scans: tuple[str, ...] = Field((), description="hash of each scan's file and of its voxels")
    complete: bool = Field(
        True, description="whether that is all; not after weights of unknown origin"
    )

    @classmethod
    def of(cls, patients: Iterable[str], scans: Iterable[str]) -> Seen:
        """Return what names of patients and hashes of scans make."""
        names = sorted({patient_hash(name) for name in patients})
        return validate(cls, {"patients": names, "scans": sorted(set(scans))})


def patient_hash(name: str) -> str:
    """Return the hash that stands for a patient, the same in every store.

    Examples:
        >>> patient_hash("STS_001") == patient_hash("STS_001")
        True
    """
    return hash_of(["patient", name], LENGTH)


def together(*parts: Seen | None) -> Seen:
    """Return all that several have seen; with one that is not known, that is not all."""
    known = [part for part in parts if part is not None]
    return validate(
        Seen,
        {
            "patients": sorted({name for part in known for name in part.patients}),
            "scans": sorted({scan for part in known for scan in part.scans}),
            "complete": len(known) == len(parts) and all(part.complete for part in known),
        },
    )


def read_seen(folder: str | Path) -> Seen | None:
    """Return whom the weights of a folder have learned from, whatever kind of folder it is.

    Returns:
        `None` if nobody wrote it down, as for weights of another tool.

    Raises:
        CheckpointError: If the folder has no `config.json`.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise CheckpointError(
            "a folder of weights must hold config.json",
            file=folder,
            remedy="copy the whole folder from where it was trained",
        )
    about = read_json(path)
    if isinstance(about, dict) and about.get("kind") == "network":
        about = about["encoder"]  # what the whole network saw
    seen = about.get("seen") if isinstance(about, dict) else None
    return None if seen is None else validate(Seen, seen)


def tested_by(folder: str | Path) -> Seen | None:
    """Return who tested the segmenter of a folder; `None` if nobody wrote it down.

    Raises:
        CheckpointError: If the folder has no `config.json`.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise CheckpointError(
            "a folder of weights must hold config.json",
            file=folder,
            remedy="copy the whole folder from where it was trained",
        )
    about = read_json(path)
    tested = about.get("tested") if isinstance(about, dict) else None
    return None if tested is None else validate(Seen, tested)


def seen_in_words(seen: Seen | None) -> str:
    """Return how many patients weights have learned from, for a model card."""
    if seen is None:
        return "not known"
    count = f"{len(seen.patients)} (hashed in config.json)"
    return count if seen.complete else f"{count}, and others that are not known"
