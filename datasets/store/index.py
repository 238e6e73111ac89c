"""The index of a case store: one small row per case, so that opening never walks the folders."""

from __future__ import annotations

from typing import Any


def index_row(about: dict[str, Any]) -> dict[str, Any]:
    """Return what the index keeps of a case: all that sampling and splits ask before opening it.

    Args:
        about: Content of `case.json`.
    """
    return {
        "id": about["id"],
        "patient": about["patient"],
        "site": about["site"],
        "split": about["split"],
        "modalities": about["modalities"],
        "labelled": about["labelled"],
        "partial": about.get("partial", False),
        "notes": len(about.get("notes", ())),
        "nodes": len(about["nodes"]),
        "hot_spots": about.get("hot_spots", 0),
        "classes": max((node["class"] for node in about["nodes"]), default=0),
        "shape": about["grid"]["shape"],
    }
