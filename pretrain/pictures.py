"""What a pretext task did to a patch, as one PNG with everything baked in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from hilum.core.files import atomic_path
from hilum.core.geometry import Triple
from hilum.core.modality import Modality, modality

TILE, GAP, TITLE = 144, 6, 16
HIDDEN = (38, 70, 110)
PAPER, INK = (16, 16, 16), (230, 230, 230)


def write_pictures(
    path: Path,
    volumes: Mapping[str, Tensor],
    modalities: Sequence[str],
    spacing: Triple,
    sample: int = 0,
    available: Tensor | None = None,
) -> Path:
    """Write one column per volume; for each modality an axial and a coronal row.

    Slices pass through the middle of the patch, in the modality's window; PET is dark where it is
    hot. Head is up and the patient's right is on the left. What was hidden is blue.

    Args:
        path: Where to write; ends in `.png`.
        volumes: `[B, M, D, H, W]` on the network's scale by name; NaN where hidden.
        modalities: Name of each channel.
        spacing: mm per voxel, so that pictures have true proportions.
        sample: Which of the batch.
        available: Which modalities each case has, `[B, M]`; an absent one is not drawn.
    """
    columns = {
        name: volume[sample].detach().float().cpu().numpy() for name, volume in volumes.items()
    }
    shown = [
        (channel, name)
        for channel, name in enumerate(modalities)
        if available is None or bool(available[sample, channel])
    ]
    rows = [
        [_tile(column[channel], modality(name), axis, spacing) for column in columns.values()]
        for channel, name in shown
        for axis in (0, 1)
    ]
    labels = [f"{name} {view}" for _, name in shown for view in ("axial", "coronal")]
    with atomic_path(path) as part:
        _sheet(rows, labels, list(columns)).save(part)
    return path


def _tile(volume: np.ndarray, rule: Modality, axis: int, spacing: Triple) -> Image.Image:
    """Return one slice through the middle in colours, scaled to its size in mm."""
    plane = np.take(volume, volume.shape[axis] // 2, axis)[::-1, ::-1]
    low, high = rule.show
    level = ((rule.decode(np.nan_to_num(plane)) - low) / (high - low)).clip(0, 1)
    if rule.unit == "SUV":
        level = 1 - level
    colour = np.repeat((255 * level).astype(np.uint8)[..., None], 3, -1)
    colour[np.isnan(plane)] = HIDDEN
    down, across = (s for other, s in enumerate(spacing) if other != axis)
    height, width = plane.shape[0] * down, plane.shape[1] * across
    scale = TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Image.fromarray(colour).resize(size, Image.Resampling.NEAREST)


def _sheet(
    rows: Sequence[Sequence[Image.Image]], labels: Sequence[str], titles: Sequence[str]
) -> Image.Image:
    heights = [max(tile.height for tile in row) + TITLE + GAP for row in rows]
    size = (GAP + len(titles) * (TILE + GAP), sum(heights))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    top = 0
    for row, label, height in zip(rows, labels, heights, strict=True):
        for column, (tile, title) in enumerate(zip(row, titles, strict=True)):
            left = GAP + column * (TILE + GAP)
            draw.text((left, top + 2), f"{label} {title}", fill=INK)
            sheet.paste(tile, (left, top + TITLE))
        top += height
    return sheet
