"""Segmentations as Slicer writes them: cut, in layers, empty, numbered anew, saved as .nrrd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest

from hilum.annotate.formats.slicer import Segment, read_segmentation, write_segmentation
from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.datasets.io.masks import read_mask

GRID = Grid(
    (6, 7, 8),
    np.array([[0.0, 0.1, 2.0, -30], [0.2, 3.0, 0.0, 12], [4.0, 0, 0, 100], [0, 0, 0, 1]]),
)


def labels() -> np.ndarray:
    found = np.zeros(GRID.shape, np.uint16)
    found[1:3, 2:5, 1:4] = 1
    found[4, 5, 6:8] = 2
    return found


def slicer_file(
    path: Path, voxels: np.ndarray, start: tuple[int, int, int], segments: list[dict[str, Any]]
) -> Path:
    """Write what Slicer writes, by pynrrd alone: `voxels` `[D, H, W]` or `[L, D, H, W]`."""
    steps = np.diag([-1.0, -1, 1]) @ GRID.affine[:3, [2, 1, 0]]
    directions = steps.T
    array = voxels.transpose(2, 1, 0) if voxels.ndim == 3 else voxels.transpose(0, 3, 2, 1)
    kinds = ["domain"] * 3
    if voxels.ndim == 4:
        kinds = ["list", *kinds]
        directions = np.vstack([[np.nan] * 3, directions])
    origin = np.diag([-1.0, -1, 1]) @ GRID.to_world(start)
    header: dict[str, Any] = {
        "space": "left-posterior-superior",
        "kinds": kinds,
        "space directions": directions,
        "space origin": origin,
        "encoding": "gzip",
    }
    for number, one in enumerate(segments):
        tags = f"Segmentation.Status:{one.pop('status', 'inprogress')}|{one.pop('tags', '')}"
        header |= {f"Segment{number}_{key}": str(value) for key, value in one.items()}
        header[f"Segment{number}_Tags"] = f"{tags}|"
    nrrd.write(str(path), array, header)
    return path


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    segments = [
        Segment("1 node | a:b", value=1, number=1, colour=(1.0, 0.25, 0.2)),
        Segment("2 tumour", value=2, number=2),
    ]
    path = write_segmentation(tmp_path / "a.seg.nrrd", labels(), GRID, segments)
    found = read_segmentation(path)
    np.testing.assert_array_equal(found.layers[0], labels())
    np.testing.assert_allclose(found.grid.affine, GRID.affine, atol=1e-9)
    assert [one.status for one in found.segments] == ["notstarted", "notstarted"]
    assert [one.value for one in found.segments] == [1, 2]
    assert [one.id for one in found.segments] == ["hilum_1", "hilum_2"]
    assert found.segments[0].name == "1 node | a:b"
    assert found.segments[0].colour == (1.0, 0.25, 0.2)
    assert not found.empty


def test_another_reader_sees_the_same_place(tmp_path: Path) -> None:
    """SimpleITK, which hilum reads NRRD with elsewhere, is the reference."""
    straight = Grid.from_spacing((6, 7, 8), (4.0, 3.0, 2.0), (-30, 12, 100))
    path = write_segmentation(
        tmp_path / "a.seg.nrrd", labels(), straight, [Segment("1"), Segment("2", number=2)]
    )
    found = read_mask(path)
    np.testing.assert_array_equal(found.array, labels())
    assert found.grid.same_as(straight)


def test_a_file_cut_to_its_segments_has_the_grid_of_the_box(tmp_path: Path) -> None:
    box = labels()[1:5, 2:6, 1:8].astype(np.uint8)
    path = slicer_file(
        tmp_path / "a.seg.nrrd",
        box,
        (1, 2, 1),
        [{"ID": "hilum_2", "LabelValue": 1, "Layer": 0, "Name": "x", "status": "completed"}],
    )
    found = read_segmentation(path)
    assert found.grid.same_as(GRID.crop((1, 2, 1), (4, 4, 7)))
    assert found.segments[0].status == "completed"
    assert found.segments[0].id == "hilum_2"
    np.testing.assert_array_equal(found.mask_of(found.segments[0]), box == 1)


@pytest.mark.parametrize("ending", [".seg.nrrd", ".nrrd"])
def test_overlapping_segments_lie_in_layers(ending: str, tmp_path: Path) -> None:
    layers = np.zeros((2, *GRID.shape), np.uint8)
    layers[0, 1:3, 1:3, 1:3] = 1
    layers[1, 2:4, 2:4, 2:4] = 1
    rows = [{"ID": f"s{n}", "LabelValue": 1, "Layer": n, "Name": f"s{n}"} for n in range(2)]
    found = read_segmentation(slicer_file(tmp_path / f"a{ending}", layers, (0, 0, 0), rows))
    assert found.layers.shape == (2, *GRID.shape)
    for number, segment in enumerate(found.segments):
        np.testing.assert_array_equal(found.mask_of(segment), layers[number] == 1)
    assert found.grid.same_as(GRID)


def test_a_single_empty_voxel_means_nothing(tmp_path: Path) -> None:
    path = slicer_file(tmp_path / "a.seg.nrrd", np.zeros((1, 1, 1), np.uint8), (0, 0, 0), [])
    assert read_segmentation(path).empty


@pytest.mark.parametrize("content", [b"", b"NRRD0004\ntype: unsigned", b"\x1f\x8bnothing"])
def test_damage_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.seg.nrrd"
    file.write_bytes(content)
    with pytest.raises(DataError, match="must be a segmentation of 3D Slicer"):
        read_segmentation(file, "case")


def test_a_segment_of_a_layer_that_is_missing_is_damage(tmp_path: Path) -> None:
    rows = [{"ID": "s", "LabelValue": 1, "Layer": 3, "Name": "s"}]
    path = slicer_file(tmp_path / "a.seg.nrrd", labels().astype(np.uint8), (0, 0, 0), rows)
    with pytest.raises(DataError, match="1 layers, segments in layer 3"):
        read_segmentation(path)
