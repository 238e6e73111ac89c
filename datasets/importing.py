"""Read any layout on disk into a manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ..core.case import Case
from ..core.errors import SettingsError, did_you_mean
from ..core.modality import modality
from .folder import import_folder
from .manifest import write_manifest
from .nnunet_raw import import_nnunet_raw

FORMATS: dict[str, Callable[[Path, Mapping[str, str] | None], list[Case]]] = {
    "folder": import_folder,
    "nnunet_raw": import_nnunet_raw,
}


def import_cohort(
    format: str,  # noqa: A002
    root: str | Path,
    out: str | Path,
    name_map: Mapping[str, str] | None = None,
) -> Path:
    """Read a layout and write `manifest.csv`.

    Args:
        format: A key of `FORMATS`.
        root: Folder of the layout.
        out: The manifest, or the folder to put it in.
        name_map: What the layout's own names of files or channels mean here, as in
            `{"suv": "pet"}`; `label` is allowed where labels are files among the scans.

    Returns:
        Path of the manifest.
    """
    if format not in FORMATS:
        raise SettingsError(
            f"unknown format {format!r}{did_you_mean(format, FORMATS)}",
            remedy=f"choose from {', '.join(FORMATS)}",
        )
    for name in (name_map or {}).values():
        if name != "label":
            modality(name)
    out = Path(out)
    file = out if out.suffix == ".csv" else out / "manifest.csv"
    return write_manifest(file, FORMATS[format](Path(root), name_map))
