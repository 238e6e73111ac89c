"""Pictures of a case: CT, PET and both fused, with contours, and a PET projection with the nodes.

Contours and text are baked into the pixels, so that a picture means the same wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from hilum.core.connected_components import components
from hilum.core.files import atomic_path
from hilum.core.geometry import Grid
from hilum.core.modality import modality

REFERENCE = (0, 158, 115)
PREDICTION = (230, 120, 0)
"""Green and orange of Okabe and Ito, which colour-blind eyes tell apart."""

TILE = 260
GAP = 6
ROWS = 3


def case_picture(
    path: str | Path,
    volumes: Mapping[str, np.ndarray],
    grid: Grid,
    reference: np.ndarray | None,
    prediction: np.ndarray | None,
    title: str = "",
    around: np.ndarray | None = None,
    called: str = "prediction",
) -> Path:
    """Write axial slices through the largest nodes, and the coronal PET projection, as one PNG.

    Args:
        path: File to write.
        volumes: Physical values by modality, on the canonical grid.
        grid: Their grid.
        reference: Mask, contoured in green.
        prediction: Mask, contoured in orange.
        title: First line of the picture.
        around: Booleans: slices go through its nodes, instead of those of the masks.
        called: Name of the prediction in the legend.
    """
    masks = [m for m in (reference, prediction) if m is not None]
    masks = masks if around is None else [around]
    slices = _slices(masks, grid.shape[0])
    columns = list(volumes)
    fused = "ct" in volumes and "pet" in volumes
    tall = "pet" if "pet" in volumes else columns[0]
    tiles = []
    for depth in slices:
        contours = [
            (m[depth] > 0, colour)
            for m, colour in ((reference, REFERENCE), (prediction, PREDICTION))
            if m is not None
        ]
        row = [_slice(volumes[name][depth], name) for name in columns]
        if fused:
            row.append(_fuse(volumes["ct"][depth], volumes["pet"][depth]))
        sides = (grid.spacing[1], grid.spacing[2])
        tiles.append([_tile(image, contours, sides) for image in row])
    projection = _projection(volumes[tall], tall, grid, reference, prediction)
    names = [name.upper().replace("_", " ") for name in columns] + (["fused"] if fused else [])
    sheet = _sheet(tiles, names, projection, f"{tall.upper()} projection", title)
    shown = [("reference", REFERENCE)] if reference is not None else []
    shown += [(called, PREDICTION)] if prediction is not None else []
    _legend(sheet, shown)
    with atomic_path(path) as part:
        # Harder compression takes ten times as long for a tenth of the size.
        sheet.save(part, "PNG", compress_level=3)
    return Path(path)


def _slices(masks: Sequence[np.ndarray], depth: int) -> list[int]:
    """Return up to three depths: through the middles of the largest nodes of any mask."""
    found: list[tuple[int, int]] = []
    for mask in masks:
        labels, _ = components(mask > 0)
        for number, box in enumerate(ndimage.find_objects(labels), 1):
            inside = labels[box] == number
            middle = box[0].start + int(np.argmax(inside.sum((1, 2))))
            found.append((int(inside.sum()), middle))
    chosen: list[int] = []
    for _, middle in sorted(found, reverse=True):
        if all(abs(middle - other) > 2 for other in chosen):
            chosen.append(middle)
        if len(chosen) == ROWS:
            break
    return chosen or [depth // 2]


def _slice(values: np.ndarray, name: str) -> np.ndarray:
    """Return grey values 0 to 255 `[H, W, 3]`; PET is dark where it is hot, as it is read."""
    low, high = modality(name).show
    grey = np.clip((values.astype(float) - low) / (high - low), 0, 1)
    if modality(name).unit == "SUV":
        grey = 1 - grey
    return np.repeat((grey * 255).astype(np.uint8)[..., None], 3, -1)


def _fuse(ct: np.ndarray, pet: np.ndarray) -> np.ndarray:
    low, high = modality("pet").show
    heat = np.clip((pet.astype(float) - low) / (high - low), 0, 1)[..., None]
    colour = np.concatenate([np.clip(3 * heat - c, 0, 1) for c in range(3)], -1) * 255
    weight = np.clip(heat * 1.6, 0, 0.75)
    return (_slice(ct, "ct") * (1 - weight) + colour * weight).astype(np.uint8)


def _tile(
    image: np.ndarray,
    contours: Sequence[tuple[np.ndarray, tuple[int, int, int]]],
    sides: tuple[float, float],
) -> Image.Image:
    """Return an enlarged slice, anterior at the top, the patient's right at the left."""
    height, width = image.shape[0] * sides[0], image.shape[1] * sides[1]
    scale = TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Width runs to the patient's right, height to anterior: both are turned over for reading.
    picture = Image.fromarray(np.ascontiguousarray(image[::-1, ::-1])).resize(
        size, Image.Resampling.BICUBIC
    )
    pixels = np.array(picture)
    for mask, colour in contours:
        large = Image.fromarray((mask[::-1, ::-1] * 255).astype(np.uint8)).resize(
            size, Image.Resampling.BILINEAR
        )
        inside = np.array(large) > 127
        edge = inside & ~np.asarray(ndimage.binary_erosion(inside, iterations=2), bool)
        pixels[edge] = colour
    return Image.fromarray(pixels)


def _projection(
    values: np.ndarray,
    name: str,
    grid: Grid,
    reference: np.ndarray | None,
    prediction: np.ndarray | None,
) -> Image.Image:
    """Return the coronal maximum projection with contours and numbered nodes, head at the top."""
    image = _slice(values.max(1), name)
    contours = [
        (m.max(1) > 0, colour)
        for m, colour in ((reference, REFERENCE), (prediction, PREDICTION))
        if m is not None
    ]
    picture = _tile(image, contours, (grid.spacing[0], grid.spacing[2]))
    numbered = prediction if prediction is not None else reference
    if numbered is not None:
        _number(picture, numbered, values.shape)
    return picture


def _number(picture: Image.Image, mask: np.ndarray, shape: Sequence[int]) -> None:
    """Write the number of each node of the node table beside it (the largest is 1)."""
    labels, count = components(mask > 0)
    if not count:
        return
    sizes = np.bincount(labels.ravel())[1:]
    centres = ndimage.center_of_mass(labels > 0, labels, range(1, count + 1))
    draw = ImageDraw.Draw(picture)
    for rank, index in enumerate(np.argsort(-sizes)[:12], 1):
        d, _, w = np.asarray(centres[index], float)
        x = (1 - (w + 0.5) / shape[2]) * picture.width
        y = (1 - (d + 0.5) / shape[0]) * picture.height
        draw.text((x + 7, y - 7), str(rank), fill=(200, 60, 0), font=_font(13))


def _sheet(
    tiles: Sequence[Sequence[Image.Image]],
    names: Sequence[str],
    projection: Image.Image,
    projection_name: str,
    title: str,
) -> Image.Image:
    top = 46
    columns, rows = len(tiles[0]), len(tiles)
    height = top + rows * (TILE + GAP) + 24
    width = columns * (TILE + GAP) + projection.width + GAP
    sheet = Image.new("RGB", (max(width, 520), max(height, top + projection.height + 30)), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, 4), title, fill=(30, 30, 30), font=_font(16))
    for column, name in enumerate(names):
        draw.text((column * (TILE + GAP) + GAP, 26), name, fill=(90, 90, 90), font=_font(13))
    for row, line in enumerate(tiles):
        for column, tile in enumerate(line):
            x = column * (TILE + GAP) + (TILE - tile.width) // 2
            sheet.paste(tile, (x, top + row * (TILE + GAP) + (TILE - tile.height) // 2))
    left = columns * (TILE + GAP)
    draw.text((left + GAP, 26), projection_name, fill=(90, 90, 90), font=_font(13))
    sheet.paste(projection, (left, top))
    return sheet


def _legend(sheet: Image.Image, shown: Sequence[tuple[str, tuple[int, int, int]]]) -> None:
    draw = ImageDraw.Draw(sheet)
    x, y = GAP, sheet.height - 20
    for text, colour in shown:
        draw.line((x, y + 8, x + 22, y + 8), fill=colour, width=3)
        draw.text((x + 28, y), text, fill=(60, 60, 60), font=_font(13))
        x += 120
    text = "CT -160 to 240 HU, PET SUV 0 to 8; patient's right at the left"
    draw.text((x + 6, y), text, fill=(120, 120, 120), font=_font(12))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
