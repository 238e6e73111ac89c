"""A page stands alone, and its numbers stand where the nodes are."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hilum.core.geometry import Grid
from hilum.evaluation.metrics.nodes import node_table
from hilum.segmenter.prediction.page import write_page
from hilum.segmenter.prediction.pictures import CONTOUR, fused, grey, outlined, thinned

GRID = Grid(
    (30, 40, 50),
    np.array([[0, 0, 2.0, -30], [0, 3.0, 0, -50], [4.0, 0, 0, 700], [0, 0, 0, 1]]),
)
PLACES = [(6, 10, 12), (20, 30, 40), (24, 8, 44)]


class Page(HTMLParser):
    """Collects what a browser would load, and the tags that are open at the end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in ("img", "image", "script", "link"):
            self.addresses.append(str(values.get("src") or values.get("href")))
        if tag not in ("meta", "img", "p", "image"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            assert self.open.pop() == tag


def made() -> tuple[dict[str, np.ndarray], np.ndarray]:
    mask = np.zeros(GRID.shape, np.uint8)
    for size, (d, h, w) in enumerate(PLACES, 1):
        mask[d - size : d + size + 1, h - size : h + size + 1, w - size : w + size + 1] = 1
    pet = np.where(mask, 9, 0.5).astype(np.float16)
    return {"ct": np.full(GRID.shape, 30, np.float16), "pet": pet}, mask


def page(folder: Path, names: tuple[str, ...] = ("ct", "pet")) -> str:
    volumes, mask = made()
    volumes = {name: volumes[name] for name in names}
    nodes = node_table(mask, GRID, volumes, uncertainty=np.full(GRID.shape, 0.125))
    about = {"inputs": ["a.nii.gz", "<b>.nii.gz"], "volume, ml": 1.23456}
    return write_page(folder / "p.html", "case <1>", volumes, GRID, mask, nodes, about).read_text()


def test_a_page_needs_no_other_file(tmp_path: Path) -> None:
    found = Page(page(tmp_path))
    assert not found.open
    assert len(found.addresses) == 2 + 3 * 3
    for address in found.addresses:
        assert address.startswith("data:image/png;base64,")
        Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))).verify()


def test_the_table_has_a_row_per_node_and_text_is_escaped(tmp_path: Path) -> None:
    text = page(tmp_path)
    assert re.findall(r'<tr id="node-(\d)">', text) == ["1", "2", "3"]
    assert "<td>9.0</td>" in text
    assert "<td>0.125</td>" in text
    assert "case &lt;1&gt;" in text
    assert "a.nii.gz, &lt;b&gt;.nii.gz" in text
    assert "1.235" in text
    assert "station" not in text


def test_numbers_stand_beside_their_nodes(tmp_path: Path) -> None:
    text = page(tmp_path)
    for svg, across in zip(re.findall(r"<svg.*?</svg>", text, re.DOTALL), (2, 1), strict=True):
        size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
        assert size
        width, height = float(size[1]), float(size[2])
        data = re.search(r"base64,([^\"]+)", svg)
        assert data
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1]))).convert("RGB"))
        marks = re.findall(r'<text x="([\d.]+)" y="([\d.]+)">(\d)', svg)
        # The largest node was drawn last, and is number 1.
        for (x, y, number), place in zip(marks, PLACES[::-1], strict=True):
            left, top = (float(x) - 7) / width, (float(y) + 5) / height
            assert left == pytest.approx(1 - (place[across] + 0.5) / GRID.shape[across], abs=0.01)
            row, column = int(top * picture.shape[0]), int(left * picture.shape[1])
            dark = picture[row - 2 : row + 3, column - 2 : column + 3].min()
            assert dark < 60, f"node {number} is hot, hence dark"


def test_a_case_without_pet_or_without_nodes_has_a_page(tmp_path: Path) -> None:
    assert "fused" not in page(tmp_path, ("ct",))
    volumes, mask = made()
    text = write_page(tmp_path / "x.html", "x", volumes, GRID, 0 * mask, [], {}).read_text()
    assert "None was found" in text


def test_uptake_is_dark_on_pet_and_bright_on_the_fused_slice() -> None:
    pet = np.array([[0.0, 8.0]])
    assert grey(pet, "pet")[0, :, 0].tolist() == [255, 0]
    assert (
        fused(np.full((1, 2), 40.0), pet)[0, 1].min()
        > fused(np.full((1, 2), 40.0), pet)[0, 0].max()
    )


def test_contours_are_turned_as_the_picture_is() -> None:
    inside = np.zeros((20, 30), bool)
    inside[2:6, 3:9] = True
    image = np.zeros((20, 30, 3), np.uint8)
    picture = np.asarray(outlined(image, inside, (2.0, 1.0)))
    rows, columns = np.nonzero((picture == CONTOUR).all(-1))
    scale_y, scale_x = picture.shape[0] / 20, picture.shape[1] / 30
    assert rows.min() / scale_y == pytest.approx(20 - 6, abs=0.3)
    assert columns.max() / scale_x == pytest.approx(30 - 3, abs=0.3)


def test_thinned_pixels_stay_at_their_place() -> None:
    volumes, mask = made()
    few, thin_mask, thin = thinned(volumes, mask, GRID, 20)
    assert thin.shape == thin_mask.shape == few["pet"].shape == (30, 14, 17)
    assert np.allclose(thin.to_world([3, 5, 7]), GRID.to_world([3, 15, 21]))
    assert few["pet"][20, 10, 13] == volumes["pet"][20, 30, 39]
    assert thinned(volumes, mask, GRID)[2].same_as(GRID)
