"""How the cases of a store were prepared, so that others can be prepared alike."""

from __future__ import annotations

from typing import Any

from hilum.core.files import read_json

from .case_store import CaseStore


def preparation_of(store: CaseStore) -> dict[str, Any]:
    """Return the settings of `prepare` that made a store, with its modalities."""
    recipe = store.path / "prepare.json"
    settings = read_json(recipe) if recipe.is_file() else {}
    settings.pop("version", None)
    return {**settings, "modalities": store.modalities}
