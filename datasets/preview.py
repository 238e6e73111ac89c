"""A sheet of pictures of what the network sees, to look at before a day of training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from hilum.core.case import IGNORE
from hilum.core.errors import DataError
from hilum.core.files import atomic_path
from hilum.core.geometry import Triple
from hilum.core.modality import modality
from hilum.core.outputs import check_output_file

from .batch import Batch

TILE = 160
"""Longest side of a picture in pixels."""
MADE_BY = "Software", "hilum preview"
GAP, TITLE, MARK = 6, 16, np.array([255, 176, 0], np.uint8)


def preview(
    path: str | Path, batch: Batch, modalities: Sequence[str], spacing: Triple, samples: int = 8
) -> Path:
    """Write a PNG with one row per sample: each modality in its window, axial then coronal.

    Slices pass through the middle of the label, or of the patch. The label is outlined; unknown
    voxels are not. An absent or dropped modality is a dark tile that says so. Head is up, the
    patient's right is on the left, as radiologists expect.

    Args:
        path: Where to write; ends in `.png`.
        batch: What `PairedAugmentation` returned.
        modalities: Name of each channel.
        spacing: mm per voxel, so that pictures have true proportions.
        samples: At most so many rows.
    """
    image = batch["image"].detach().float().cpu().numpy()
    if image.ndim != 5 or image.shape[1] != len(modalities):
        raise DataError(
            f"a batch must have the channels {', '.join(modalities)}",
            found=list(image.shape),
            remedy="name the modalities of the batch",
        )
    label = batch["label"].cpu().numpy()[:, 0] if "label" in batch else None
    available = batch["available"].cpu().numpy()
    rows = []
    for row in range(min(len(image), samples)):
        mask = None if label is None else (label[row] > 0) & (label[row] != IGNORE)
        at = _middle(mask, image.shape[2:])
        tiles = []
        for channel, name in enumerate(modalities):
            if not available[row, channel]:
                volume = None
            else:
                low, high = modality(name).show
                volume = (modality(name).decode(image[row, channel]) - low) / (high - low)
            for axis in (0, 1):
                tiles.append((name, _tile(volume, mask, image.shape[2:], axis, at, spacing)))
        rows.append((batch["case"][row], tiles))
    path = Path(path)
    check_output_file(path, "preview", _is_ours)
    about = PngInfo()
    about.add_text(*MADE_BY)
    with atomic_path(path) as part:
        _sheet(rows).save(part, pnginfo=about)
    return path


def _is_ours(file: Path) -> bool:
    """Say whether an earlier preview wrote a picture."""
    key, value = MADE_BY
    return f"tEXt{key}\0{value}".encode() in file.read_bytes()[:200]


def _middle(mask: np.ndarray | None, shape: Sequence[int]) -> list[int]:
    """Return the voxel of the label that is nearest to its middle, or the middle of the patch."""
    if mask is None or not mask.any():
        return [n // 2 for n in shape]
    points = np.argwhere(mask)
    return points[np.abs(points - points.mean(0)).sum(1).argmin()].tolist()


def _tile(
    volume: np.ndarray | None,
    mask: np.ndarray | None,
    shape: Sequence[int],
    axis: int,
    at: Sequence[int],
    spacing: Triple,
) -> Image.Image:
    """Return one slice in grey with the outline of the label, or a dark tile without a volume."""
    sides = [shape[other] * spacing[other] for other in range(3) if other != axis]
    factor = TILE / max(sides)
    height, width = (max(round(side * factor), 1) for side in sides)
    if volume is None:
        tile = Image.new("RGB", (width, height), (24, 24, 32))
        ImageDraw.Draw(tile).text((6, 4), "absent", fill=(150, 150, 170))
        return tile
    # Rows run down from superior or anterior, columns from the patient's right.
    grey = (np.take(volume, at[axis], axis)[::-1, ::-1].clip(0, 1) * 255).astype(np.uint8)
    tile = Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.stack([np.asarray(tile)] * 3, -1)
    if mask is not None:
        flat = np.take(mask, at[axis], axis)[::-1, ::-1].astype(np.uint8) * 255
        large = Image.fromarray(flat).resize((width, height), Image.Resampling.NEAREST)
        pixels[_outline(np.asarray(large) > 0)] = MARK
    return Image.fromarray(pixels)


def _outline(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of a mask that touch its outside."""
    padded = np.pad(mask, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~core


def _sheet(rows: Sequence[tuple[str, Sequence[tuple[str, Image.Image]]]]) -> Image.Image:
    """Put the tiles of each row side by side under their titles."""
    line = TILE + TITLE + GAP
    columns = max((len(tiles) for _, tiles in rows), default=1)
    sheet = Image.new("RGB", (columns * (TILE + GAP) + GAP, len(rows) * line + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for row, (case, tiles) in enumerate(rows):
        for column, (name, tile) in enumerate(tiles):
            x, y = GAP + column * (TILE + GAP), GAP + row * line
            view = "axial" if column % 2 == 0 else "coronal"
            title = f"{name}, {view}" if column else f"{case[:14]}: {name}, {view}"
            pen.text((x, y), title, fill="black")
            sheet.paste(tile, (x, y + TITLE))
    return sheet
