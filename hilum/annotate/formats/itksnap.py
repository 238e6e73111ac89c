"""A workspace of ITK-SNAP: scans, a segmentation over them, and names and colours of its labels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as Tree

from hilum.core.files import write_text

VERSION = "20190612"
"""Of the format, as ITK-SNAP 3.8 writes it; later ones read it."""

Colour = tuple[float, float, float]
Label = tuple[int, str, Colour]
"""Value, name, and red, green, blue from 0 to 1."""


def write_workspace(
    path: str | Path,
    scans: Mapping[str, Path],
    mask: Path,
    labels: Sequence[Label],
    home: Path | None = None,
) -> Path:
    """Write a workspace file; files go by their place from its folder, so that both can move.

    Args:
        path: Ends in `.itksnap`.
        scans: Files by modality; the first is the main image, the others lie over it.
        mask: File with the segmentation.
        labels: Of the segmentation.
        home: Folder that the file will lie in, if it is not that of `path`.
    """
    place = Path(path)
    root = Tree.Element("registry")
    _entry(root, "SaveLocation", str((home or place.parent).absolute()))
    _entry(root, "Version", VERSION)
    layers = _folder(root, "Layers")
    roles = ["MainRole", *["OverlayRole"] * (len(scans) - 1), "SegmentationRole"]
    files = [*scans.items(), ("proposals", mask)]
    for number, (role, (name, file)) in enumerate(zip(roles, files, strict=True)):
        layer = _folder(layers, f"Layer[{number:03d}]")
        _entry(layer, "AbsolutePath", os.path.relpath(file, place.parent))
        _entry(layer, "Role", role)
        _entry(layer, "Tags", "")
        about = _folder(layer, "LayerMetaData")
        _entry(about, "Alpha", "0.5" if role == "OverlayRole" else "255")
        _entry(about, "CustomNickName", name.upper() if role != "SegmentationRole" else name)
        _entry(about, "Sticky", "0" if role == "MainRole" else "1")
        _entry(about, "Tags", "")
    table = _folder(_folder(root, "IRIS"), "LabelTable")
    _entry(table, "NumberOfElements", str(len(labels)))
    for number, (value, name, colour) in enumerate(labels):
        one = _folder(table, f"Element[{number}]")
        _entry(one, "Alpha", "255")
        _entry(one, "Color", " ".join(str(round(255 * part)) for part in colour))
        _entry(one, "Flags", "1 1")
        _entry(one, "Index", str(value))
        _entry(one, "Label", name)
    Tree.indent(root)
    head = '<?xml version="1.0" encoding="UTF-8" ?>\n<!DOCTYPE registry>\n'
    write_text(place, head + Tree.tostring(root, encoding="unicode") + "\n")
    return place


def _folder(parent: Tree.Element, key: str) -> Tree.Element:
    return Tree.SubElement(parent, "folder", {"key": key})


def _entry(parent: Tree.Element, key: str, value: str) -> None:
    Tree.SubElement(parent, "entry", {"key": key, "value": value})
