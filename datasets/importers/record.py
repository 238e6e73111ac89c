"""What an import writes down next to its manifest, and says of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path

from hilum.core.errors import RunError, UserError
from hilum.core.files import read_object
from hilum.core.notes import grouped

from ..source import Imported, Source

RECORD = "import.json"
"""Beside a manifest: what was read, and what was left out, with the reason."""


def same_root(file: Path, root: Path) -> list[str]:
    """Raise an error if a manifest is there that was imported from another folder.

    Args:
        file: The manifest.
        root: Folder to be imported.

    Returns:
        A line to say, if that folder is gone, since its data may have been moved, or if one of the
        two lies in the other.

    Raises:
        RunError: If both folders are there.
    """
    record = file.with_name(RECORD)
    if not file.is_file() or not record.is_file():
        return []
    try:
        about = read_object(record)
    except UserError:  # a damaged record says nothing, and is about to be written again
        return []
    before = about.get("root")
    if not isinstance(before, str) or about.get("manifest", file.name) != file.name:
        return []
    old, new = Path(before).resolve(), root.resolve()
    if old == new or not new.exists():  # what does not exist is refused by whoever reads it
        return []
    if old in new.parents or new in old.parents:  # the same data, begun a level higher or lower
        return [f"{file} is made again from {root}; before, it was that of {before}"]
    if old.exists():
        raise RunError(
            "a manifest must stay that of one folder",
            file=file,
            found=f"the cases of {before}",
            remedy="choose another output folder; to train on both, prepare each and name the "
            "stores together, as in store.a=A store.b=B",
        )
    return [f"{file} replaces that of {before}, which is no longer there"]


def record_of(
    format: str,  # noqa: A002
    source: Source,
    found: Imported,
    file: Path,
) -> dict[str, object]:
    """Return what `import.json` holds: what was asked, and what became of it."""
    ids = {case.id for case in found.cases}
    return {
        "format": format,
        "manifest": file.name,
        "root": printable(str(source.root.absolute())),
        "names": dict(source.names),
        "options": list(source.options),
        "values": {f"{value:g}": meaning for value, meaning in source.values.items()},
        "cases": len(found.cases),
        "left_out": [asdict(entry) for entry in found.left_out],
        "renamed": {key: name for key, name in found.renamed.items() if key in ids},
        "notes": [note.as_json() for note in found.notes],
    }


def summary(file: Path, found: Imported, most: int = 10) -> list[str]:
    """Return the lines to say of an import; of many cases that were left out, the first."""
    cases = found.cases
    volumes = Counter(name for case in cases for name in case.volumes)
    partial = sum(case.partial for case in cases)
    lines = [
        f"wrote {file}: {len(cases)} cases of {len({case.patient for case in cases})} patients; "
        + ", ".join(f"{name} {count}" for name, count in sorted(volumes.items()))
        + f"; labelled {sum(case.labelled for case in cases)}"
        + (f", {partial} of them in part" if partial else "")
    ]
    lines += grouped(found.notes)
    if found.left_out:
        total = len(cases) + len(found.left_out)
        lines.append(f"left out {len(found.left_out)} of {total} cases:")
        lines += [f"  {entry.case}: {entry.reason}" for entry in found.left_out[:most]]
        if len(found.left_out) > most:
            lines.append(f"  ... all of them in {file.with_name(RECORD)}")
    return lines


def printable(text: str) -> str:
    """Return text that can be printed and saved, whatever bytes a file name holds."""
    return text.encode("utf-8", "backslashreplace").decode()
