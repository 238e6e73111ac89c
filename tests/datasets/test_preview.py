"""The sheet shows each modality in its window, upright, with the label outlined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hilum.core.errors import DataError
from hilum.core.modality import modality
from hilum.datasets.batch import Batch
from hilum.datasets.preview import GAP, MARK, TILE, TITLE, preview

PAIR = ("ct", "pet")


@pytest.fixture
def batch() -> Batch:
    """Return air but for soft tissue in the upper, anterior, right octant; PET only in case 0."""
    image = torch.full((2, 2, 8, 12, 16), -1.0)
    image[:, 0, 4:, 6:, 8:] = modality("ct").encode(torch.tensor(240.0))
    image[:, 1] = 0
    label = torch.zeros(2, 1, 8, 12, 16, dtype=torch.uint8)
    label[0, 0, 5:8, 8:11, 10:14] = 1
    label[1] = 255
    return {
        "image": image,
        "available": torch.tensor([[True, True], [True, False]]),
        "regions": torch.full((2, 1, 8, 12, 16), 7, dtype=torch.uint8),
        "label": label,
        "case": ["first", "zweiter é"],
        "seed": torch.arange(2),
    }


def tile(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    top = GAP + row * (TILE + TITLE + GAP) + TITLE
    left = GAP + column * (TILE + GAP)
    return sheet[top : top + TILE, left : left + TILE]


def test_a_sheet_shows_every_modality_and_view(batch: Batch, tmp_path: Path) -> None:
    path = preview(tmp_path / "new folder" / "sheet.png", batch, PAIR, (2.0, 1.0, 1.0))
    sheet = np.asarray(Image.open(path))
    assert sheet.shape == (2 * (TILE + TITLE + GAP) + GAP, 4 * (TILE + GAP) + GAP, 3)
    # 12 x 16 mm axial, 16 x 16 mm coronal.
    axial, coronal = tile(sheet, 1, 0)[:120], tile(sheet, 1, 1)
    for view in (axial, coronal):
        half, third = len(view) // 2 - 10, 70
        assert (view[:half, :third] == 255).all(), "anterior or superior is up, right is left"
        assert (view[:half, -third:] == 0).all()
        assert (view[-half:] == 0).all()
    outlined = (tile(sheet, 0, 0) == MARK).all(-1)
    rows, columns = np.nonzero(outlined)
    # Voxels 8 to 10 of 12 from below, 10 to 13 of 16 from the right; 10 pixels each.
    assert (rows.min(), rows.max()) == (10, 39)
    assert (columns.min(), columns.max()) == (20, 59)
    assert not outlined[15:35, 25:55].any(), "only the edge is drawn"
    assert not (tile(sheet, 1, 0) == MARK).all(-1).any(), "unknown voxels are not outlined"


def test_an_absent_modality_is_said(batch: Batch, tmp_path: Path) -> None:
    sheet = np.asarray(Image.open(preview(tmp_path / "a.png", batch, PAIR, (2.0, 1.0, 1.0))))
    absent, there = tile(sheet, 1, 2)[:120], tile(sheet, 0, 2)[:120]
    assert absent[60, 80].tolist() == [24, 24, 32]
    assert len(np.unique(absent.reshape(-1, 3), axis=0)) > 1, "a word is written"
    assert there[100, 100].tolist() == [0, 0, 0]


def test_rows_are_limited_and_labels_optional(batch: Batch, tmp_path: Path) -> None:
    del batch["label"]  # pyright: ignore[reportTypedDictNotRequiredAccess]
    path = preview(tmp_path / "a.png", batch, PAIR, (1.0, 1.0, 1.0), samples=1)
    with Image.open(path) as sheet:
        assert sheet.height == TILE + TITLE + 2 * GAP


def test_other_channels_are_an_error_and_no_file_is_left(batch: Batch, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="channels ct"):
        preview(tmp_path / "a.png", batch, ("ct",), (1.0, 1.0, 1.0))
    assert not list(tmp_path.iterdir())
