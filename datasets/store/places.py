"""Where the cases of a store lie: in one folder, or in those of several stores as one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hilum.core.errors import StoreError
from hilum.core.files import hash_of

from .shapes import StoreAbout, read_about

Place = str | Path | Mapping[str, str | Path]
"""Folder of a store, or that of each store by a name of one's own."""

JOIN = "__"
"""Stands between the name of a store and that of its case."""


def path_of(place: Place) -> Path:
    """Return the folder of a store, of several the one that holds all of them."""
    if isinstance(place, Mapping):
        return Path(os.path.commonpath([Path(folder).absolute() for folder in place.values()]))
    return Path(place)


def read_index(place: Place, version: int) -> tuple[dict[str, Any], dict[str, Path]]:
    """Read the index of a store, or one index of several stores.

    Cases of several stores are called `<store>__<case>`; a patient of the same name is the same
    patient in all of them, and never in two parts of a split.

    Args:
        place: Of the store.
        version: That its index must have.

    Returns:
        The index, and the folder of each case.

    Raises:
        StoreError: If there is no store, or several have no spacing or classes in common.
    """
    if not isinstance(place, Mapping):
        about = _read(Path(place), version)
        return about, {row["id"]: Path(place) / row["id"] for row in about["cases"]}
    if not place:
        raise StoreError("a pool of stores needs a store", remedy="as in store.a=FOLDER")
    for name in place:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", name):
            raise StoreError(
                "the name of a store in a pool must be a word",
                found=repr(name),
                remedy="take letters, digits, dots and hyphens",
            )
    parts = {name: _read(Path(folder), version) for name, folder in place.items()}
    _check_alike(parts, place)
    rows, folders = [], {}
    for name, about in parts.items():
        for row in about["cases"]:
            called = f"{name}{JOIN}{row['id']}"
            rows.append({**row, "id": called, "source": name})
            folders[called] = Path(place[name]) / row["id"]
    first = next(iter(parts.values()))
    notes = [note for about in parts.values() for note in about.get("notes", ())]
    left_out = {
        f"{name}{JOIN}{case}": why
        for name, about in parts.items()
        for case, why in about.get("left_out", {}).items()
    }
    return {
        "version": version,
        "modalities": [*dict.fromkeys(m for p in parts.values() for m in p["modalities"])],
        "spacing": first["spacing"],
        "classes": max(about["classes"] for about in parts.values()),
        "fingerprint": hash_of([[name, about["fingerprint"]] for name, about in parts.items()]),
        "left_out": left_out,
        "notes": notes,
        "cases": rows,
    }, folders


def _read(path: Path, version: int) -> dict[str, Any]:
    if not (path / "store.json").exists():
        raise StoreError(
            "no case store: store.json is missing",
            file=path,
            remedy="make one with `hilum prepare MANIFEST --out FOLDER`, or let it finish",
        )
    return read_about(path / "store.json", StoreAbout, version)


def _check_alike(parts: Mapping[str, dict[str, Any]], place: Mapping[str, str | Path]) -> None:
    """Raise an error unless a voxel and a class mean the same in all stores of a pool."""
    (one, first), *rest = parts.items()
    for name, about in rest:
        pairs = zip(about["spacing"], first["spacing"], strict=True)
        if any(abs(own - other) > 1e-3 * other for own, other in pairs):
            raise StoreError(
                "the stores of a pool must have one spacing",
                file=place[name],
                found=f"{_mm(about)} mm in {name}, {_mm(first)} mm in {one}",
                remedy=f"prepare {name} again with spacing={_mm(first)}",
            )
    most = max(about["classes"] for about in parts.values())
    for name, about in parts.items():
        blind = [r["id"] for r in about["cases"] if r["labelled"] and not r.get("annotated")]
        if about["classes"] < most and blind:
            raise StoreError(
                "the labelled stores of a pool must have the same classes",
                file=place[name],
                found=f"{about['classes'] - 1} in {name}, {most - 1} in another",
                remedy="say in the column annotated of the manifest for which classes its labels "
                "were drawn, and prepare again",
            )


def _mm(about: Mapping[str, Any]) -> str:
    return "[" + ",".join(f"{side:g}" for side in about["spacing"]) + "]"
