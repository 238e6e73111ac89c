"""A sheet of small pictures: a whole cohort at a glance, with contours and coloured frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from hilum.core.files import atomic_path
from hilum.core.geometry import Grid
from hilum.core.modality import modality

from ..io.nifti import Volume

SIDE = 96
"""Pixels of one view."""
PER_SHEET = 120
_MIP_STEPS = 48
_TEXT = 14
_FRAME = {"block": (214, 39, 40), "warn": (255, 158, 26)}
_CONTOUR = np.array([(255, 80, 80), (80, 220, 120), (90, 160, 255), (250, 220, 80)], np.uint8)


class KeptPictures(Mapping[str, np.ndarray | None]):
    """Pictures by case, on disk until they are asked for: a large cohort has a gigabyte. Final.

    Args:
        cases: Every case, in the order of the sheets.
        file: Empty, and open for reading and writing; without one there are no pictures.
    """

    def __init__(self, cases: Sequence[str], file: IO[bytes] | None) -> None:
        self._cases = list(cases)
        self._places: dict[str, tuple[int, tuple[int, ...]]] = {}
        self._file = file

    def keep(self, case: str, view: np.ndarray | None) -> None:
        """Keep the picture of a case; `None` where nothing could be read."""
        if view is None or self._file is None:
            return
        self._places[case] = self._file.seek(0, 2), view.shape
        self._file.write(view.tobytes())

    def __getitem__(self, case: str) -> np.ndarray | None:
        if case not in self._places or self._file is None:
            return None
        start, shape = self._places[case]
        self._file.seek(start)
        return np.frombuffer(self._file.read(int(np.prod(shape))), np.uint8).reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._cases)

    def __len__(self) -> int:
        return len(self._cases)


def picture(
    volumes: Mapping[str, Volume],
    reference: str,
    label: Volume | None,
    modalities: Sequence[str],
    side: int = SIDE,
) -> np.ndarray:
    """Return one column per modality: axial above, coronal below, uint8 `[2 side, n side, 3]`.

    Every view is sampled at the same places of the patient, so a scan that lies elsewhere shows at
    once. The planes go through the middle of the label, else of the reference. As radiologists
    view: the patient's right is on the left. PET is inverted, and its coronal view is the maximum
    from front to back.

    Args:
        volumes: Scans on any grids.
        reference: Whose box is shown.
        label: Drawn as contours, by class.
        modalities: Columns; one that the case lacks stays dark.
        side: Pixels per view.
    """
    grid = volumes[reference].grid
    corners = grid.to_world(
        np.stack(np.meshgrid(*([0, n - 1] for n in grid.shape), indexing="ij"), -1).reshape(-1, 3)
    )
    low, high = corners.min(0), corners.max(0)
    middle = _middle(label, (low + high) / 2)
    out = np.zeros((2 * side, len(modalities) * side, 3), np.uint8)
    for row, coronal in enumerate((False, True)):
        points = _plane((low + high) / 2, middle, float((high - low).max()), side, coronal)
        outline = _contour(label, points)
        for column, name in enumerate(modalities):
            if name not in volumes:
                continue
            mip = coronal and modality(name).unit == "SUV"
            depth = (float(low[1]), float(high[1])) if mip else None
            view = _grey(name, _sample(volumes[name], points, depth, modality(name).fill))
            view[outline > 0] = _CONTOUR[(outline[outline > 0] - 1) % len(_CONTOUR)]
            out[row * side : (row + 1) * side, column * side : (column + 1) * side] = view
    return out


def write_thumbnails(
    folder: str | Path,
    pictures: Mapping[str, np.ndarray | None],
    severity: Mapping[str, str],
    modalities: Sequence[str],
) -> list[Path]:
    """Write `thumbnails.png`, and `thumbnails_2.png` and so on for a large cohort.

    Args:
        folder: Where to write.
        pictures: As `picture` makes them, by case; `None` where nothing could be read.
        severity: `block` or `warn` per case, for the colour of the frame.
        modalities: Names of the columns, for the head line.

    Returns:
        Paths of the sheets.
    """
    names, files = list(pictures), []
    for number, start in enumerate(range(0, len(names), PER_SHEET), 1):
        part = {name: pictures[name] for name in names[start : start + PER_SHEET]}
        file = Path(folder) / ("thumbnails.png" if number == 1 else f"thumbnails_{number}.png")
        with atomic_path(file) as temporary:
            _sheet(part, severity, modalities).save(temporary)
        files.append(file)
    return files


def _sheet(
    pictures: Mapping[str, np.ndarray | None],
    severity: Mapping[str, str],
    modalities: Sequence[str],
) -> Image.Image:
    width = SIDE * max(len(modalities), 1) + 8
    height = 2 * SIDE + _TEXT + 8
    columns = min(max(1, 1400 // width), len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height + _TEXT + 6), (20, 20, 20))
    draw = ImageDraw.Draw(sheet)
    head = f"{', '.join(modalities)}; above axial, below coronal; red: blocks, orange: warning"
    draw.text((4, 3), head, fill=(220, 220, 220))
    for index, (name, view) in enumerate(pictures.items()):
        x, y = index % columns * width, index // columns * height + _TEXT + 6
        colour = _FRAME.get(severity.get(name, ""), (70, 70, 70))
        draw.rectangle((x + 1, y + 1, x + width - 2, y + height - 2), outline=colour, width=2)
        # Pillow's own font has no other letters; a question mark beats a crash.
        text = name.encode("latin-1", "replace").decode("latin-1")
        while text and draw.textlength(text) > width - 10:
            text = text[:-1]
        draw.text((x + 5, y + 3), text, fill=(235, 235, 235))
        if view is None:
            draw.text((x + 8, y + SIDE), "unreadable", fill=colour)
        else:
            sheet.paste(Image.fromarray(view), (x + 4, y + _TEXT + 4))
    return sheet


def _middle(label: Volume | None, otherwise: np.ndarray) -> np.ndarray:
    """Return the world place of the label's largest slice, or another place."""
    if label is None or not label.array.any():
        return otherwise
    mask = label.array > 0
    largest = int(mask.sum((1, 2)).argmax())
    return label.grid.to_world([largest, *np.argwhere(mask[largest]).mean(0)])


def _plane(
    centre: np.ndarray, through: np.ndarray, extent: float, side: int, coronal: bool
) -> np.ndarray:
    """Return the world points `[side, side, 3]` of a square view, top left first."""
    steps = ((np.arange(side) + 0.5) / side - 0.5) * extent
    points = np.empty((side, side, 3))
    points[..., 0] = centre[0] - steps
    up, across = (2, 1) if coronal else (1, 2)
    points[..., up] = (centre[up] - steps)[:, None]
    points[..., across] = through[across]
    return points


def _sample(
    volume: Volume, points: np.ndarray, depth: tuple[float, float] | None, fill: float
) -> np.ndarray:
    """Return the values at points, or the maximum over a range of the second world axis (mm)."""
    if depth is None:
        return _at(volume.array, volume.grid, points, fill, order=1)
    result = np.full(points.shape[:2], fill, np.float32)
    for place in np.linspace(*depth, _MIP_STEPS):
        moved = points.copy()
        moved[..., 1] = place
        result = np.maximum(result, _at(volume.array, volume.grid, moved, fill, order=1))
    return result


def _at(array: np.ndarray, grid: Grid, points: np.ndarray, fill: float, order: int) -> np.ndarray:
    index = np.moveaxis(grid.to_index(points), -1, 0)
    return ndimage.map_coordinates(array, index, order=order, mode="constant", cval=fill)


def _grey(name: str, values: np.ndarray) -> np.ndarray:
    """Return `[H, W, 3]` in the window of a modality; PET is dark where it takes up."""
    rule = modality(name)
    low, high = rule.show
    if rule.unit == "a.u.":
        low, high = (float(v) for v in np.percentile(values, (1, 99.5)))
    scaled = ((values - low) / max(high - low, 1e-6)).clip(0, 1)
    grey = (255 * (1 - scaled if rule.unit == "SUV" else scaled)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, -1)


def _contour(label: Volume | None, points: np.ndarray) -> np.ndarray:
    """Return the class on the inner edge of each region of a view, 0 elsewhere."""
    if label is None:
        return np.zeros(points.shape[:2], int)
    mask = _at(label.array, label.grid, points, 0, order=0).astype(int)
    core = (ndimage.minimum_filter(mask, 3) == mask) & (ndimage.maximum_filter(mask, 3) == mask)
    return np.where(core, 0, mask)
