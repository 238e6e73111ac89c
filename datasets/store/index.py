"""The index of a case store: one small row per case, so that opening never walks the folders."""

from __future__ import annotations

from typing import Any

from .case_store import CaseStore


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
        "annotated": about.get("annotated", []),
        "notes": len(about.get("notes", ())),
        "nodes": len(about["nodes"]),
        "hot_spots": about.get("hot_spots", 0),
        "classes": max(
            [node["class"] for node in about["nodes"]]
            # A class that the label has lost may be left in a rater's share.
            + [len(row) - 1 for row in about.get("shares", ())],
            default=0,
        ),
        "shape": about["grid"]["shape"],
        **({"raters": about["raters"]} if about.get("raters") else {}),
        **({"soft": True} if "shares" in about else {}),
        **_hashes(about),
    }


def complete(store: CaseStore, name: str) -> bool:
    """Tell whether every class of the store was looked for in a case's label."""
    drawn = store.row(name).get("annotated", ())
    return not drawn or set(drawn) >= set(range(1, store.classes))


def scan_hashes(store: CaseStore, name: str) -> list[str]:
    """Return the hashes by which the scans of a case are known again in another store.

    That of each file, and that of its voxels; labels and masks of organs are not scans.
    """
    row = store.row(name)
    return row["scans"] if "scans" in row else _hashes(store[name].about)["scans"]


def _hashes(about: dict[str, Any]) -> dict[str, list[str]]:
    own, files = about.get("scans", {}), about.get("inputs", {})
    found = {part[name] for part in (own, files) for name in about["modalities"] if name in part}
    return {"scans": sorted(found)}
