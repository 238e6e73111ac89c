"""Thumbnails show the same place of the patient in every scan, as radiologists view it."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hilum.core.case import Case
from hilum.core.geometry import Grid
from hilum.datasets.check import run
from hilum.datasets.check.case import CaseFindings
from hilum.datasets.check.thumbnails import PER_SHEET, KeptPictures, picture, write_thumbnails
from hilum.datasets.io.nifti import Volume
from hilum.datasets.manifest import write_manifest

SIDE = 48


def spot(grid: Grid, place: tuple[float, float, float], low: float, high: float) -> Volume:
    """Return a volume with a bright ball of 9 mm at a place in the world."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)
    away = np.linalg.norm(grid.to_world(index) - place, axis=-1)
    return Volume(np.where(away < 9, high, low).astype(np.float32), grid)


CANONICAL = Grid.from_spacing((24, 30, 36), (4, 3, 3), (-54, -45, -48))
TURNED = Grid((18, 12, 12), CANONICAL.affine @ np.diag([0, 0, 0, 1.0]))
TURNED.affine[:3, 0] = (-6, 0, 0)
TURNED.affine[:3, 1] = (0, 0, 8)
TURNED.affine[:3, 2] = (0, -7.5, 0)
TURNED.affine[:3, 3] = (51, 42, -48)
"""The same box with other axes: depth to the left, height up, width to the back."""


@pytest.mark.parametrize("grid", [CANONICAL, TURNED])
def test_right_is_left_front_is_above_and_the_head_is_up(grid: Grid) -> None:
    # At the patient's right, front and top.
    view = picture({"ct": spot(grid, (30, 20, 25), -1000, 240)}, "ct", None, ["ct"], SIDE)
    axial, coronal = view[:SIDE], view[SIDE:]
    assert view.shape == (2 * SIDE, SIDE, 3)
    label = Volume((spot(grid, (30, 20, 25), 0, 1).array).astype(np.uint8), grid)
    aimed = picture({"ct": spot(grid, (30, 20, 25), -1000, 240)}, "ct", label, ["ct"], SIDE)
    ends = grid.to_world(np.array([(0, 0, 0), np.array(grid.shape) - 1]))
    away = ((30, 20, 25) - ends.mean(0)) / np.ptp(ends, axis=0).max()
    for part, up in ((aimed[:SIDE], away[1]), (aimed[SIDE:], away[2])):
        row, column = np.argwhere(part[..., 0] > 200).mean(0)
        assert row == pytest.approx(SIDE * (0.5 - up), abs=2)
        assert column == pytest.approx(SIDE * (0.5 - away[0]), abs=2)
    # Without a label the middle is shown, which the ball does not reach.
    assert axial.max() == coronal.max() == 0


def test_a_scan_that_lies_elsewhere_shows_elsewhere() -> None:
    moved = CANONICAL.crop((0, 0, 8), CANONICAL.shape)
    ct = spot(CANONICAL, (0, 0, 0), -1000, 240)
    pet = Volume(spot(CANONICAL, (0, 0, 0), 0, 8).array, moved)
    view = picture({"ct": ct, "pet": pet}, "ct", None, ["pet", "ct"], SIDE)[:SIDE]
    dark = np.argwhere(view[:, :SIDE, 0] < 60).mean(0)
    bright = np.argwhere(view[:, SIDE:, 0] > 200).mean(0)
    # 24 mm towards the patient's right, which is left in the picture.
    assert dark - bright == pytest.approx((0, -24 / 108 * SIDE), abs=1)


def test_the_coronal_pet_is_the_maximum_from_front_to_back() -> None:
    pet = spot(CANONICAL, (0, 35, 10), 0, 8)
    view = picture({"pet": pet}, "pet", None, ["pet"], SIDE)
    assert (view[:SIDE] == 255).all()
    assert (view[SIDE:] < 60).any()


def test_contours_mark_the_edge_by_class_and_absent_scans_stay_dark() -> None:
    ct = Volume(np.full(CANONICAL.shape, -1000, np.float32), CANONICAL)
    label = np.zeros(CANONICAL.shape, np.uint8)
    label[8:16, 10:20, 8:18] = 1
    label[8:16, 10:20, 22:30] = 2
    view = picture({"ct": ct}, "ct", Volume(label, CANONICAL), ["ct", "pet"], SIDE)
    assert view[:, SIDE:].max() == 0
    colours = {tuple(colour) for colour in view[:, :SIDE].reshape(-1, 3)}
    assert len(colours) == 3
    # Inside of the first class, which begins to the left of the middle.
    assert tuple(view[23, 30]) == (0, 0, 0)
    assert tuple(view[23, 24]) != (0, 0, 0)


def test_sheets_are_coloured_by_severity_and_split_when_many(tmp_path: Path) -> None:
    view = np.full((192, 96, 3), 128, np.uint8)
    names = ["ä/節", "broken", *(f"c{i}" for i in range(PER_SHEET))]
    pictures = {name: None if name == "broken" else view for name in names}
    files = write_thumbnails(tmp_path, pictures, {"ä/節": "block", "broken": "warn"}, ["ct"])
    assert [file.name for file in files] == ["thumbnails.png", "thumbnails_2.png"]
    first, second = (np.asarray(Image.open(file)) for file in files)
    assert tuple(first[100, 1]) == (214, 39, 40)
    assert tuple(first[100, 105]) == (255, 158, 26)
    assert second.shape[0] < first.shape[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == [file.name for file in files]


def test_pictures_of_a_large_cohort_wait_on_disk_in_the_order_of_the_cases(tmp_path: Path) -> None:
    names = [f"case_{number}" for number in range(50)]
    shades = np.random.default_rng(0).integers(0, 255, (50, 3), np.uint8)
    with (tmp_path / "pictures").open("w+b") as file:
        kept = KeptPictures(names, file)
        tracemalloc.start()
        for number in reversed(range(50)):  # as processes may end
            view = np.full((192, 192, 3), shades[number], np.uint8)
            kept.keep(names[number], None if number == 7 else view)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held < 3 * 192 * 192 * 3, "not fifty"
        assert list(kept) == names
        assert kept["case_7"] is None
        for name, shade in zip(names, shades, strict=True):
            found = kept[name]
            assert name == "case_7" or (found is not None and (found == shade).all())


def test_a_check_holds_no_picture_of_a_case_that_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of 40 cases has one of 55 kB; all that is held at the end is findings."""
    view, held = np.zeros((2 * 96, 96, 3), np.uint8), []

    def checked(case: Case, show: tuple[str, ...]) -> CaseFindings:
        return CaseFindings(case.id, picture=view.copy())

    def written(*_: Any) -> list[Path]:
        held.append(tracemalloc.get_traced_memory()[0])
        return []

    monkeypatch.setattr(run, "check_case", checked)
    monkeypatch.setattr(run, "cohort_problems", lambda *_: [])
    monkeypatch.setattr(run, "write_thumbnails", written)
    cases = [Case(f"c{n}", f"p{n}", {"ct": tmp_path / "ct.nii.gz"}) for n in range(40)]
    manifest = write_manifest(tmp_path / "manifest.csv", cases)
    tracemalloc.start()
    run.check(manifest, tmp_path / "out")
    tracemalloc.stop()
    assert 0 < held[0] < 10 * view.nbytes


def test_pictures_come_back_whatever_was_looked_at_before_the_next_was_kept(
    tmp_path: Path,
) -> None:
    draw = np.random.default_rng(0)
    shapes = {"a": (4, 6, 3), "b": (8, 2, 3), "c": (5, 5, 3)}
    views = {name: draw.integers(0, 255, shape, np.uint8) for name, shape in shapes.items()}
    with (tmp_path / "pictures").open("w+b") as file:
        kept = KeptPictures([*views, "unread"], file)
        for name, view in views.items():
            kept.keep(name, view)
            np.testing.assert_array_equal(kept["a"], views["a"])  # pyright: ignore[reportArgumentType]
        kept.keep("unread", None)
        for name, view in views.items():
            np.testing.assert_array_equal(kept[name], view)  # pyright: ignore[reportArgumentType]
        assert kept["unread"] is None
        assert list(kept) == [*views, "unread"]
