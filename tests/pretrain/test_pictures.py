"""A picture shows what is there, the right way up, and what was hidden in a colour of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from hilum.pretrain.pictures import HIDDEN, TILE, TITLE, write_pictures


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def test_hidden_voxels_are_blue_and_the_rest_is_in_the_window(tmp_path: Path) -> None:
    volume = torch.full((1, 1, 4, 6, 8), -1.0)
    # The patient's anterior left: the upper right corner as radiologists look at it.
    volume[0, 0, 2, 4:, :2] = float("nan")
    volume[0, 0, 2, 4:, 6:] = 1.0
    found = pixels(write_pictures(tmp_path / "p.png", {"masked": volume}, ("ct",), (1, 1, 1)))
    height = TILE * 6 // 8
    tile = found[TITLE : TITLE + height, 6 : 6 + TILE]
    corner = {"upper left": tile[5, 5], "upper right": tile[5, -5], "lower left": tile[-5, 5]}
    assert tuple(corner["upper left"]) == (255, 255, 255)
    assert tuple(corner["upper right"]) == HIDDEN
    assert tuple(corner["lower left"]) == (0, 0, 0)


def test_there_is_a_row_pair_per_modality_that_is_there(tmp_path: Path) -> None:
    volume = torch.zeros(2, 2, 4, 4, 4)
    available = torch.tensor([[True, True], [True, False]])
    sizes = []
    for sample in (0, 1):
        file = tmp_path / f"{sample}.png"
        write_pictures(
            file, {"a": volume, "b": volume}, ("ct", "pet"), (2, 1, 1), sample, available
        )
        sizes.append(pixels(file).shape)
    assert sizes[0][0] == 2 * sizes[1][0]
    assert sizes[0][1] == sizes[1][1] > 2 * TILE


def test_spacing_gives_true_proportions_and_pet_is_dark_where_hot(tmp_path: Path) -> None:
    volume = torch.full((1, 1, 4, 4, 4), 3.0)
    found = pixels(write_pictures(tmp_path / "p.png", {"pet": volume}, ("pet",), (4, 1, 2)))
    dark = (found[:, 6 : 6 + TILE] == 0).all(-1)
    # Axial is 4 mm high and 8 mm wide, coronal 16 mm high and 8 mm wide.
    assert dark[:, TILE // 2 - 6].sum() >= TILE // 2 + TILE - 4
    assert dark[TITLE + 10, : TILE - 4].all()
