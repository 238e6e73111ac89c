"""Segments of several classes, and DICOM SEG: written on a series, read again onto its grid."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from hilum.annotate.formats.slicer import Segment, write_segmentation
from hilum.annotate.proposing.record import Proposal
from hilum.annotate.taking.changes import changes
from hilum.annotate.taking.reviewed import read_reviewed
from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.exchange.dicom_out.seg import write_seg

sys.path.insert(0, str(Path(__file__).parents[2] / "exchange" / "dicom_out"))

import dicom_ct


def proposal(grid: Grid, *names: str) -> Proposal:
    by = {"segmenter": "s", "identity": "i"}
    return Proposal("a", Path(), "p", grid, "ct", {}, names or ("node",), "", by, "", "", "")


def test_a_dicom_seg_comes_back_voxel_for_voxel(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    dicom_ct.write_ct(tmp_path / "ct")
    grid, mask = dicom_ct.grid_of(tmp_path / "ct"), dicom_ct.blobs()
    file = write_seg(mask, grid, tmp_path / "ct", tmp_path / "a.dcm")
    found = read_reviewed(file, proposal(grid))
    np.testing.assert_array_equal(found.mask, mask)
    with pytest.raises(DataError, match=r"segment .* --segment"):
        read_reviewed(file, proposal(grid, "lymphoma", "gland"))


CASES: dict[str, tuple[Segment, dict[str, int], int | None]] = {
    "as proposed": (Segment("1 x", value=2), {}, 2),
    "by name": (Segment("Tumour left"), {}, 2),
    "as the user says": (Segment("mass", value=1), {"mass": 2}, 2),
    "unclear": (Segment("mass"), {}, None),
    "no such class": (Segment("mass", value=9), {}, None),
}


@pytest.mark.parametrize("name", CASES)
def test_the_class_of_a_segment_is_known_or_asked_for(name: str, tmp_path: Path) -> None:
    segment, meanings, want = CASES[name]
    grid = Grid.from_spacing((3, 4, 5), (2, 2, 2))
    mask = np.zeros(grid.shape, np.uint16)
    mask[1, 1, 1:3] = 1
    file = write_segmentation(tmp_path / "a.seg.nrrd", mask, grid, [segment])
    asked = proposal(grid, "node", "tumour")
    if want is None:
        with pytest.raises(DataError, match="--segment 'mass=1'"):
            read_reviewed(file, asked, None, meanings)
    else:
        np.testing.assert_array_equal(read_reviewed(file, asked, None, meanings).mask, mask * want)


def test_nodes_are_counted_by_what_they_share() -> None:
    before, after = np.zeros((8, 8, 8), np.uint8), np.zeros((8, 8, 8), np.uint8)
    before[0, 0, 0:2] = 1  # kept
    after[0, 0, 0:2] = 1
    before[2, 2, 0:3] = 1  # redrawn
    after[2, 2, 1:4] = 1
    before[4, 4, 0:2] = 1  # removed
    after[6, 6, 0:2] = 1  # added
    before[7, 0, 0:2] = 1  # of another class now
    after[7, 0, 0:2] = 2
    after[7, 7, 7] = 255
    found = changes(before, after, 0.5)
    assert (found.kept, found.redrawn, found.removed, found.added) == (1, 2, 1, 1)
    assert found.dice == pytest.approx(2 * 6 / (9 + 9))
    assert (found.before_ml, found.after_ml) == (4.5, 4.5)
    assert changes(before * 0, before * 0, 1.0).dice == 1
