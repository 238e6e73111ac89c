"""Pictures show what they say: contours in their colours, the patient's right at the left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from hilum.core.geometry import Grid
from hilum.evaluation.charts import svg as charts
from hilum.evaluation.charts.pictures import PREDICTION, REFERENCE, case_picture

GRID = Grid.from_spacing((12, 20, 24), (4.0, 3.0, 3.0))


def has(path: Path, colour: tuple[int, int, int]) -> np.ndarray:
    """Return the pixels of one colour above the legend."""
    with Image.open(path) as picture:
        pixels = np.array(picture.convert("RGB"))[:-24]
    return np.argwhere((pixels == colour).all(-1))


def test_contours_lie_on_the_side_of_the_node(tmp_path: Path) -> None:
    """A node at high width lies at the patient's right, so at the left of the picture."""
    mask = np.zeros(GRID.shape, np.uint8)
    mask[5:8, 8:12, 18:22] = 1
    ct = np.zeros(GRID.shape, np.float32)
    path = case_picture(tmp_path / "a.png", {"ct": ct}, GRID, mask, None)
    found = has(path, REFERENCE)
    assert len(found)
    tile = found[found[:, 1] < 266]
    assert tile[:, 1].mean() < 100
    assert not len(has(path, PREDICTION))


def test_both_masks_and_all_panels(tmp_path: Path) -> None:
    one, two = np.zeros(GRID.shape, np.uint8), np.zeros(GRID.shape, np.uint8)
    one[5:8, 8:12, 4:9], two[5:8, 8:12, 6:12] = 1, 1
    volumes = {name: np.ones(GRID.shape, np.float32) for name in ("ct", "pet")}
    path = case_picture(tmp_path / "a.png", volumes, GRID, one, two, "case é")
    assert len(has(path, REFERENCE))
    assert len(has(path, PREDICTION))
    with Image.open(path) as picture:
        assert picture.width > 3 * 260


def test_a_case_without_masks_is_drawn(tmp_path: Path) -> None:
    pet = np.ones(GRID.shape, np.float32)
    assert case_picture(tmp_path / "a.png", {"pet": pet}, GRID, None, None).exists()


def test_charts_hold_every_name_and_survive_undefined_values() -> None:
    nan = float("nan")
    rows = [("a < b", 0.5, 0.4, 0.6), ("c", nan, nan, nan), ("d", -0.2, nan, nan)]
    for svg in (charts.bars(rows, "dice"), charts.forest(rows, "difference")):
        assert "a &lt; b" in svg
        assert "nan" not in svg
    svg = charts.lines([("x", [(0, 0.1), (5, nan), (9, 0.4)])], "step", "loss")
    assert svg.count("<polyline") == 1
    assert charts.lines([], "step", "loss") == ""
