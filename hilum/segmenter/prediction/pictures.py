"""Draw what a prediction page shows: slices through nodes with contours, and projections."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping

import numpy as np
from PIL import Image
from scipy import ndimage

from hilum.core.geometry import Grid
from hilum.core.modality import modality

CONTOUR = (230, 120, 0)
"""Orange of Okabe and Ito."""

TILE = 300
"""Longest side of a slice in pixels."""


def slice_tiles(
    volumes: Mapping[str, np.ndarray], mask: np.ndarray, grid: Grid, depth: int
) -> dict[str, str]:
    """Return an axial slice of each scan, and of CT and PET fused, as `data:` addresses by title.

    Anterior is at the top, the patient's right at the left.

    Args:
        volumes: Physical values `[D, H, W]` by modality, on the canonical grid.
        mask: Contoured.
        grid: Of both.
        depth: Index of the slice.
    """
    images = {name.upper().replace("_", " "): grey(v[depth], name) for name, v in volumes.items()}
    if "ct" in volumes and "pet" in volumes:
        images["fused"] = fused(volumes["ct"][depth], volumes["pet"][depth])
    sides = (grid.spacing[1], grid.spacing[2])
    inside = np.asarray(mask[depth]) > 0
    return {title: address(outlined(image, inside, sides)) for title, image in images.items()}


def projection(volume: np.ndarray, name: str, mask: np.ndarray, grid: Grid, axis: int) -> str:
    """Return the maximum projection along an axis (1 coronal, 2 sagittal), head at the top.

    A coronal one has the patient's right at the left, a sagittal one the front.
    """
    across = 3 - axis
    image = grey(volume.max(axis), name)
    inside = np.asarray(mask.max(axis)) > 0
    return address(outlined(image, inside, (grid.spacing[0], grid.spacing[across])))


def thinned(
    volumes: Mapping[str, np.ndarray], mask: np.ndarray, grid: Grid, most: int = 320
) -> tuple[dict[str, np.ndarray], np.ndarray, Grid]:
    """Return every n-th pixel of slices that are much finer than a picture, without a copy.

    Args:
        volumes: `[D, H, W]` each.
        mask: On the same grid.
        grid: Of both.
        most: Pixels along the longer side of a slice.
    """
    step = -(-max(grid.shape[1:]) // most)
    cut = (slice(None), slice(None, None, step), slice(None, None, step))
    d, h, w = mask[cut].shape
    thin = Grid((d, h, w), grid.affine @ np.diag([1.0, step, step, 1.0]))
    return {name: volume[cut] for name, volume in volumes.items()}, mask[cut], thin


def grey(values: np.ndarray, name: str) -> np.ndarray:
    """Return grey values `[H, W, 3]` in a modality's window; uptake is dark, as it is read."""
    low, high = modality(name).show
    level = np.clip((np.asarray(values, np.float32) - low) / (high - low), 0, 1)
    if modality(name).unit == "SUV":
        level = 1 - level
    return np.repeat((level * 255).astype(np.uint8)[..., None], 3, -1)


def fused(ct: np.ndarray, pet: np.ndarray) -> np.ndarray:
    """Return the CT with the uptake over it, from black over red and yellow to white."""
    low, high = modality("pet").show
    heat = np.clip((np.asarray(pet, np.float32) - low) / (high - low), 0, 1)[..., None]
    colour = np.concatenate([np.clip(3 * heat - step, 0, 1) for step in range(3)], -1) * 255
    weight = np.clip(heat * 1.6, 0, 0.75)
    return (grey(ct, "ct") * (1 - weight) + colour * weight).astype(np.uint8)


def outlined(image: np.ndarray, inside: np.ndarray, sides: tuple[float, float]) -> Image.Image:
    """Return an enlarged picture with both axes turned over for reading, and a contour.

    Args:
        image: `[H, W, 3]`.
        inside: Booleans `[H, W]`.
        sides: mm of a pixel along both axes.
    """
    height, width = image.shape[0] * sides[0], image.shape[1] * sides[1]
    scale = TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    turned = Image.fromarray(np.ascontiguousarray(image[::-1, ::-1]))
    pixels = np.array(turned.resize(size, Image.Resampling.BICUBIC))
    large = Image.fromarray((inside[::-1, ::-1] * 255).astype(np.uint8))
    filled = np.array(large.resize(size, Image.Resampling.BILINEAR)) > 127
    pixels[filled & ~np.asarray(ndimage.binary_erosion(filled), bool)] = CONTOUR
    return Image.fromarray(pixels)


def address(picture: Image.Image) -> str:
    """Return a picture as a `data:` address, so that a page needs no other file."""
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=6)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
