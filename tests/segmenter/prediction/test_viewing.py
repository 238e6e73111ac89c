"""The viewer shows what predict wrote, and masks of other tools, on their scans."""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.files import read_json
from hilum.core.geometry import Grid
from hilum.datasets.io.nifti import read_label, read_volume, write_volume
from hilum.datasets.manifest import write_manifest
from hilum.evaluation.viewer.case import describe, slice_png
from hilum.evaluation.viewer.contours import contours
from hilum.segmenter.prediction.cohort import predict
from hilum.segmenter.prediction.viewing import gallery, view
from hilum.segmenter.segmenter import Segmenter

from ...browser import CHROMIUM, Browser

FLIPPED = Grid(
    (20, 24, 28), np.array([[0, 0, -1.5, 40], [0, -2, 0, 50], [3, 0, 0, -7], [0, 0, 0, 1.0]])
)
"""As a scanner has it: rows to posterior, columns to the left."""


def scans(folder: Path, name: str = "a", nodes: int = 3) -> Case:
    """Write a CT, a PET on a coarser grid and a mask of nodes of falling size on the CT's grid."""
    draw = np.random.default_rng(len(name))
    # Blocks, since a browser smooths what it enlarges.
    ct = np.kron(draw.uniform(-900, 500, (5, 6, 7)), np.ones((4, 4, 4))).astype(np.float32)
    mask = np.zeros(FLIPPED.shape, np.uint8)
    for number in range(nodes):
        size = 4 - number
        mask[2 + 6 * number :][:size, 5:][:, :size, 6 + 5 * number :][:, :, :size] = 1
    coarse = FLIPPED.with_spacing((3.0, 4.0, 4.0))
    pet = draw.uniform(0, 9, coarse.shape).astype(np.float32)
    files = {
        "ct": write_volume(folder / name / "ct.nii.gz", ct, FLIPPED),
        "pet": write_volume(folder / name / "pet.nii.gz", pet, coarse),
    }
    return Case(name, name, files, write_volume(folder / name / "label.nii.gz", mask, FLIPPED))


def masks_of(cases: list[Case], folder: Path) -> Path:
    folder.mkdir()
    for case in cases:
        assert case.label is not None
        shutil.copy(case.label, folder / f"{case.id}.nii.gz")
    return folder


@pytest.fixture
def masks(tmp_path: Path) -> tuple[Path, Path]:
    """Return a folder of masks, and the manifest of their scans."""
    cases = [scans(tmp_path / "raw", "a"), scans(tmp_path / "raw", "bb", 1)]
    manifest = write_manifest(tmp_path / "raw" / "manifest.csv", cases)
    return masks_of(cases, tmp_path / "masks"), manifest


def test_predictions_are_shown_with_their_node_table(
    threshold: Segmenter, manifest: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run" / "predictions"
    predict(threshold, manifest, out, precision="32", pictures=False)
    found = gallery(tmp_path / "run")
    assert list(found.cases) == [f"case_{n}" for n in range(6)]
    case = found.open(0)
    assert [layer.name for layer in case.layers] == ["ct", "pet"]
    assert list(case.marked) == ["prediction"]
    assert found.about["case_0"] == "1 node"
    assert [node.row for node in case.nodes] == read_json(out / "case_0_nodes.json")
    mask = read_label(out / "case_0.nii.gz").array
    for depth in range(len(mask)):
        assert bool(contours(case, depth)) == bool(mask[depth].any())


def test_pixels_are_the_voxels_of_the_file_on_its_own_grid(masks: tuple[Path, Path]) -> None:
    case = gallery(*masks).open(0)
    file = masks[1].parent / "a"
    ct = read_volume(file / "ct.nii.gz").array
    for depth in (0, 7, 19):
        png = slice_png(case, "ct", depth, {"ct": (-500, 300)})
        # The file runs as a picture does: from the right and from anterior.
        expected = np.round(np.clip((ct[depth].astype(float) + 500) / 800, 0, 1) * 255)
        np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(png))), expected)
    assert list(case.marked) == ["prediction", "reference"]
    assert case.fused


def test_nodes_are_measured_where_there_is_no_table(masks: tuple[Path, Path]) -> None:
    about: Any = describe(gallery(*masks).open(0))
    assert [row["id"] for row in about["nodes"]] == [1, 2, 3]
    assert [row["slice"] for row in about["nodes"]] == [4, 9, 15]
    assert all("suv_max" in row for row in about["nodes"])
    assert set(contours(gallery(*masks).open(0), 9)["prediction"]) == {"2"}


def test_nodes_of_the_reference_that_are_missed_have_a_row(masks: tuple[Path, Path]) -> None:
    label = read_label(masks[1].parent / "a" / "label.nii.gz")
    mask = label.array.copy()
    mask[8:11] = 0
    mask[17, 20, 1] = 1
    write_volume(masks[0] / "a.nii.gz", mask, label.grid)
    case = gallery(*masks).open(0)
    about: Any = describe(case)
    assert [(row["id"], row["reference"]) for row in about["nodes"]] == [
        (1, "R1"), (2, "R3"), (3, "none"), ("R2", "missed"),
    ]  # fmt: skip
    assert about["nodes"][3]["slice"] == 9
    assert about["nodes"][3]["volume_ml"] == pytest.approx(27 * 0.009)


def test_masks_without_scans_and_empty_folders_say_what_to_do(
    masks: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"hilum predict SEGMENTER --out DIR.*--manifest"):
        gallery(masks[0])
    with pytest.raises(DataError, match="no such folder"):
        gallery(tmp_path / "none")
    other = write_volume(
        masks[0] / "a.nii.gz", np.ones((3, 4, 5), np.uint8), FLIPPED.crop((0, 0, 0), (3, 4, 5))
    )
    with pytest.raises(DataError, match="outside of its scan"):
        gallery(other.parent, masks[1]).open(0)


def test_cases_of_one_name_in_two_folders_are_both_there(
    masks: tuple[Path, Path], tmp_path: Path
) -> None:
    for run in ("one", "two"):
        (tmp_path / "runs" / run).mkdir(parents=True)
        shutil.copy(masks[0] / "a.nii.gz", tmp_path / "runs" / run)
    found = gallery(tmp_path / "runs", masks[1])
    assert list(found.cases) == ["a", "two/a"]
    assert found.open(1).id == "two/a"


def test_a_viewer_tells_its_address_and_ends_when_interrupted(
    masks: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    visited: list[str] = []

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("webbrowser.open", visited.append)
    monkeypatch.setattr("socketserver.BaseServer.serve_forever", interrupt)
    view(*masks[:1], manifest=masks[1], say=said.append)
    assert said[0].startswith(visited[0])
    assert said[1] == "the viewer has ended"
    view(*masks[:1], manifest=masks[1], browser=False, say=said.append)
    assert len(visited) == 1


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
def test_a_reader_scrolls_jumps_to_nodes_and_changes_windows(
    masks: tuple[Path, Path], browse: Callable[[Path, Path], Browser]
) -> None:
    page = browse(*masks)
    drawn, where = "document.body?.dataset.drawn", "document.getElementById('where').textContent"
    page.wait(drawn, "0/4")
    assert page.value(where) == "slice 5 of 20, node 1"
    layers = "[...document.querySelectorAll('canvas')].map(c => c.dataset.layer).join()"
    assert page.value(layers) == "ct,pet,fused"
    page.mouse("mouseWheel", "canvas", deltaX=0, deltaY=100)
    page.wait(drawn, "0/3")
    page.press("ArrowUp")
    page.wait(drawn, "0/4")
    page.press("End")
    page.wait(drawn, "0/19")
    page.press("PageDown")
    page.wait(drawn, "0/9")
    assert page.value("document.querySelector('tr[data-node=\"2\"]').textContent").startswith("2R2")
    page.click("tr[data-node='3']")
    page.wait(drawn, "0/15")
    assert page.value("document.querySelector('tr[aria-selected=true]').dataset.node") == "3"
    page.press("p")
    page.wait(drawn, "0/9")
    assert page.value("location.hash") == "#case=0&slice=9&node=2"
    ct = read_volume(masks[1].parent / "a" / "ct.nii.gz").array[9]
    outline = "document.getElementById('outline')"
    page.press("c")
    page.wait(f"{outline}.checked", False)
    page.press("z")
    # Without lines the middle of a block has the value of its voxels.
    pixel = (
        "(c => {const p = c.getContext('2d'), x = c.width / 28, y = c.height / 24;"
        "return [[5, 5], [18, 10]].map(([a, b]) =>"
        " p.getImageData((b + .5) * x, (a + .5) * y, 1, 1).data[0])})"
        "(document.querySelector('canvas[data-layer=ct]'))"
    )
    for low, high in ((-160, 240), (-1350, 150)):
        choose = (
            f"(s => {{s.value = '{low},{high}'; s.dispatchEvent(new Event('change'))}})"
            "(document.getElementById('window-ct'))"
        )
        page.value(choose)
        share = [
            np.clip((ct[a, b] - low) / (high - low), 0, 1) * 255 for a, b in ((5, 5), (18, 10))
        ]
        until = time.monotonic() + 20
        while np.abs(np.array(page.value(pixel)) - share).max() > 3:
            assert time.monotonic() < until, (page.value(pixel), share)
            time.sleep(0.05)
    page.press(".")
    page.wait(drawn, "1/4")
    assert page.value("document.querySelectorAll('#nodes tbody tr').length") == 1
    assert page.value("document.getElementById('message').textContent") == ""


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
def test_contours_lie_on_their_node_whether_the_air_is_shown_or_not(
    tmp_path: Path, browse: Callable[[Path, Path], Browser]
) -> None:
    grid = Grid(
        (4, 60, 80), np.array([[0, 0, -2, 80], [0, -2, 0, 60], [4, 0, 0, 0], [0, 0, 0, 1.0]])
    )
    ct = np.full(grid.shape, -1000, np.float32)
    ct[:, 20:40, 30:60] = 40
    mask = np.zeros(grid.shape, np.uint8)
    mask[1:3, 25:30, 40:50] = 1
    files = {"ct": write_volume(tmp_path / "raw" / "ct.nii.gz", ct, grid)}
    case = Case("a", "a", files, write_volume(tmp_path / "raw" / "label.nii.gz", mask, grid))
    manifest = write_manifest(tmp_path / "raw" / "manifest.csv", [case])
    page = browse(masks_of([case], tmp_path / "masks"), manifest)
    page.wait("document.body?.dataset.drawn", "0/2")
    # The box around all pixels of the chosen node's blue, as shares of the picture.
    blue = (
        "(c => {const w = c.width, h = c.height, p = c.getContext('2d').getImageData(0,0,w,h).data;"
        "const x = [], y = []; for (let i = 0; i < w * h; i++)"
        " if (p[4*i+2] > p[4*i] + 80) { x.push(i % w / w); y.push(Math.floor(i / w) / h); }"
        "return [x, y].map(v => v.length ? [Math.min(...v), Math.max(...v)] : [0, 0]).flat()})"
        "(document.querySelector('canvas'))"
    )
    # 15 mm of air around the body are 8 voxels (to the nearest even of 7.5).
    for left, top, width, height in ((22, 12, 46, 36), (0, 0, 80, 60)):
        sides = (40 - left) / width, (50 - left) / width, (25 - top) / height, (30 - top) / height
        until = time.monotonic() + 20
        while np.abs(np.array(page.value(blue)) - sides).max() > 0.015:
            assert time.monotonic() < until, (page.value(blue), sides)
            time.sleep(0.05)
        page.press("z")


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
def test_a_case_that_cannot_be_read_is_named_on_the_page(
    masks: tuple[Path, Path], browse: Callable[[Path, Path], Browser]
) -> None:
    (masks[1].parent / "a" / "pet.nii.gz").unlink()
    page = browse(*masks)
    message = "document.getElementById('message')?.textContent.includes('no such file')"
    page.wait(message, True)
    page.press(".")
    page.wait("document.body.dataset.drawn", "1/4")
    page.wait("document.getElementById('message').textContent", "")
