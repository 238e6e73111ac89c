"""How the cases of a store were prepared, so that others can be prepared alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hilum.core.files import read_object

from .case_store import CaseStore


def preparation_of(store: CaseStore) -> dict[str, Any]:
    """Return the settings of `prepare` that made a store, with its modalities.

    Of several stores as one, those of the first; `differences` tells the rest.
    """
    return {**_recipes(store)[0][1], "modalities": store.modalities}


def differences(store: CaseStore) -> list[str]:
    """Return in words what was prepared otherwise in the stores that are used as one."""
    (one, first), *rest = _recipes(store)
    return [
        f"{key} of prepare is {first.get(key)!r} in {one} and {other.get(key)!r} in {name}: a "
        "network may learn to tell the stores apart by it"
        for name, other in rest
        for key in sorted(first.keys() | other.keys())
        if key not in ("storage", "modalities") and first.get(key) != other.get(key)
    ]


def _recipes(store: CaseStore) -> list[tuple[str, dict[str, Any]]]:
    place = store.place if isinstance(store.place, Mapping) else {"": store.place}
    found = []
    for name, folder in place.items():
        recipe = Path(folder) / "prepare.json"
        settings = read_object(recipe) if recipe.is_file() else {}
        settings.pop("version", None)
        found.append((name, settings))
    return found
