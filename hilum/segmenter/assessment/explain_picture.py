"""Draw what each modality adds to or takes from a prediction, over the anatomy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from hilum.core.files import atomic_path
from hilum.core.modality import modality
from hilum.core.types import IGNORE
from hilum.datasets.store.case_store import StoredCase

TILE, GAP, TOP = 300, 8, 46
ADDS, TAKES = np.array([213, 94, 0]), np.array([0, 114, 178])
"""Vermilion and blue of Okabe and Ito."""
LOW, HIGH = np.array([0, 40, 110]), np.array([240, 228, 66])
REFERENCE, PREDICTION = (0, 158, 115), (230, 120, 0)


def part_picture(
    file: Path, case: StoredCase, probability: np.ndarray, parts: Mapping[str, np.ndarray]
) -> Path:
    """Write the axial slice with the largest prediction: scans, then parts, as one PNG.

    Vermilion: the modality speaks for a node; blue: against one. Full colour is 0.5 and more.

    Args:
        file: To write.
        case: With the scans, and maybe a label.
        probability: Of foreground, `[D, H, W]`.
        parts: Map of each modality.
    """
    depth = _depth(probability, parts)
    scans = {name: _grey(case, name, depth) for name in case.modalities}
    ground = next(iter(scans.values()))
    tiles = [(_words(name), image) for name, image in scans.items()]
    tiles += [
        (f"what {_words(name)} says", _over(ground, part[depth])) for name, part in parts.items()
    ]
    text = "contours: green reference, orange prediction; vermilion for a node, blue against"
    return _sheet(file, case, depth, tiles, probability, text)


def map_picture(
    file: Path, case: StoredCase, probability: np.ndarray, maps: Mapping[str, np.ndarray]
) -> Path:
    """Write the same slice with the strategy's own maps, gates or attention, as one PNG.

    Gates and shares are drawn from 0 to 1, others from 0 to their largest value in the slice,
    which stands in the title.

    Args:
        file: To write.
        case: With the scans, and maybe a label.
        probability: Of foreground, `[D, H, W]`.
        maps: By name, of the same shape.
    """
    depth = _depth(probability, maps)
    ground = _grey(case, case.modalities[0], depth)
    tiles = []
    for name, values in maps.items():
        plane = values[depth]
        top = 1.0 if plane.max() <= 1 else float(plane.max())
        tiles.append((f"{name.replace('_', ' ')}, 0 to {top:.3g}", _heat(ground, plane / top)))
    text = "contours: green reference, orange prediction; yellow where the map is high"
    return _sheet(file, case, depth, tiles, probability, text)


def _depth(probability: np.ndarray, maps: Mapping[str, np.ndarray]) -> int:
    """Return the slice with the largest prediction, or else where the maps are strongest."""
    predicted = probability > 0.5
    strength = predicted if predicted.any() else sum(np.abs(x) for x in maps.values())
    return int(np.argmax(np.asarray(strength).sum((1, 2))))


def _sheet(
    file: Path,
    case: StoredCase,
    depth: int,
    tiles: list[tuple[str, np.ndarray]],
    probability: np.ndarray,
    text: str,
) -> Path:
    masks = [(probability[depth] > 0.5, PREDICTION)]
    if case.label is not None:
        label = np.asarray(case.label[depth])
        masks.insert(0, ((label > 0) & (label != IGNORE), REFERENCE))
    sheet = Image.new("RGB", (len(tiles) * (TILE + GAP) + GAP, TOP + TILE + 30), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, 4), f"{case.id}, slice {depth}", fill=(30, 30, 30), font=_font(16))
    for column, (title, image) in enumerate(tiles):
        tile = _tile(image, masks, case.grid.spacing[1:])
        left = GAP + column * (TILE + GAP)
        draw.text((left, 26), title, fill=(90, 90, 90), font=_font(13))
        sheet.paste(tile, (left + (TILE - tile.width) // 2, TOP + (TILE - tile.height) // 2))
    draw.text((GAP, TOP + TILE + 8), text, fill=(90, 90, 90), font=_font(13))
    with atomic_path(file) as part:
        sheet.save(part, "PNG", compress_level=3)
    return file


def _words(modality_name: str) -> str:
    return modality_name.upper().replace("_", " ")


def _heat(ground: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Lay blue (0) to yellow (1) over a slice: both ends differ in brightness, too."""
    share = np.clip(share, 0, 1)[..., None]
    colour = (1 - share) * LOW + share * HIGH
    return (0.45 * ground + 0.55 * colour).astype(np.uint8)


def _grey(case: StoredCase, name: str, depth: int) -> np.ndarray:
    low, high = modality(name).show
    values = np.asarray(case.images[case.modalities.index(name)][depth], float)
    grey = np.clip((values - low) / (high - low), 0, 1)
    grey = 1 - grey if modality(name).unit == "SUV" else grey
    return np.repeat((grey * 255).astype(np.uint8)[..., None], 3, -1)


def _over(ground: np.ndarray, part: np.ndarray) -> np.ndarray:
    weight = np.clip(np.abs(part) / 0.5, 0, 1)[..., None] * 0.85
    colour = np.where(part[..., None] > 0, ADDS, TAKES)
    return (ground * 0.75 * (1 - weight) + colour * weight).astype(np.uint8)


def _tile(
    image: np.ndarray,
    masks: list[tuple[np.ndarray, tuple[int, int, int]]],
    sides: tuple[float, ...],
) -> Image.Image:
    """Return an enlarged slice, anterior at the top, the patient's right at the left."""
    height, width = image.shape[0] * sides[0], image.shape[1] * sides[1]
    scale = TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    turned = Image.fromarray(np.ascontiguousarray(image[::-1, ::-1]))
    pixels = np.array(turned.resize(size, Image.Resampling.BICUBIC))
    for mask, colour in masks:
        large = Image.fromarray((mask[::-1, ::-1] * 255).astype(np.uint8))
        inside = np.array(large.resize(size, Image.Resampling.BILINEAR)) > 127
        edge = inside & ~np.asarray(ndimage.binary_erosion(inside, iterations=2), bool)
        pixels[edge] = colour
    return Image.fromarray(pixels)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
